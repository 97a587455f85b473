//! What a workflow will cost, guessed from its graph until its real cost is learned.
//!
//! The guess is coarse on purpose: it only has to rank and to fit until the first runs are measured (DESIGN §4.10).
//! Integers throughout, so the same graph gives the same numbers everywhere.

use scheduler::{FamilyId, ModelKind, Shape, ShapeId};

use super::graph::{Graph, Node, NodeInput};
use super::models::Model;
use super::{parts, python};

/// A family of models that cost alike. Step times and sizes: measured per step on an A100-80, the reference device
/// class with `speed_milli` 1000; the figure for video is assumed for a model of the 1.3B class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// No model at all: arithmetic on pictures.
    Plain,
    /// Stable Diffusion 1.5 and alike.
    Sd15,
    /// Stable Diffusion XL and alike.
    Sdxl,
    /// Flux and other large diffusion transformers.
    Flux,
    /// Models that make moving pictures.
    Video,
}

/// The scheduler's word for a family, by its name (`sd15`, `sdxl`, `flux`, `video`; `plain` is no model at all).
#[must_use]
pub fn family(name: &str) -> FamilyId {
    FamilyId(parts::hash(&["family", name]))
}

/// The names of the families of models.
pub const FAMILIES: [&str; 4] = ["sd15", "sdxl", "flux", "video"];

/// The figures of a family.
struct Figures {
    /// One step of one picture of `base_area`, microseconds.
    step_us: u64,
    /// Area that `step_us` is for, pixels; also assumed where the graph names no size.
    base_area: u64,
    /// Frames that `step_us` is for.
    base_frames: u64,
    /// Weights and workspace, MiB.
    base_vram_mib: u64,
    /// For each megapixel of each picture, MiB.
    vram_mib_per_mp: u64,
}

impl Family {
    const fn figures(self) -> Figures {
        let (step_us, base_area, base_frames, base_vram_mib, vram_mib_per_mp) = match self {
            Self::Plain => (0, 1 << 20, 1, 256, 128),
            Self::Sd15 => (32_000, 512 * 512, 1, 2_400, 1_500),
            Self::Sdxl => (119_000, 1024 * 1024, 1, 6_500, 1_800),
            Self::Flux => (559_000, 1024 * 1024, 1, 13_000, 1_800),
            Self::Video => (6_000_000, 832 * 480, 81, 9_000, 150),
        };
        Figures { step_us, base_area, base_frames, base_vram_mib, vram_mib_per_mp }
    }

    /// Its name to the scheduler: speeds are learned under it.
    fn id(self) -> FamilyId {
        let name = match self {
            Self::Plain => "plain",
            Self::Sd15 => "sd15",
            Self::Sdxl => "sdxl",
            Self::Flux => "flux",
            Self::Video => "video",
        };
        family(name)
    }

    /// Guesses by the words in the names of models and classes; a checkpoint that says nothing by the area.
    fn guess(nodes: &[&Node], models: &[Model<'_>], area: u64) -> Self {
        let weights = || models.iter().filter(|model| model.model.kind == ModelKind::Checkpoint);
        let files: Vec<String> = weights().map(|model| model.file.to_ascii_lowercase()).collect();
        let named = |words: &[&str]| files.iter().any(|file| words.iter().any(|word| file.contains(word)));
        if files.is_empty() {
            Self::Plain
        } else if named(&["wan", "hunyuan", "ltx", "svd", "mochi", "cosmos", "cogvideo"])
            || nodes.iter().any(|node| node.class_type.contains("LatentVideo"))
        {
            Self::Video
        } else if named(&["flux", "sd3", "qwen", "hidream", "chroma", "z_image"]) {
            Self::Flux
        } else if named(&["xl", "pony", "illustrious", "noob"]) {
            Self::Sdxl
        } else if named(&["sd15", "sd1", "sd_1", "v1-5", "1.5"]) || area < LARGE_AREA {
            Self::Sd15
        } else {
            Self::Sdxl
        }
    }
}

/// From this area on an unnamed checkpoint is taken for a large one, pixels.
const LARGE_AREA: u64 = 768 * 768;
/// Any prompt's fixed time, milliseconds.
const OVERHEAD_MS: u64 = 150;
/// Decoding, converting and saving, milliseconds a megapixel.
const SAVE_MS_PER_MP: u64 = 120;
/// Steps of a sampler that gets theirs by a link.
const DEFAULT_STEPS: u64 = 20;
/// Samplers that evaluate the model twice a step.
const TWICE_A_STEP: [&str; 10] = [
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2s_ancestral",
    "seeds_2",
    "dpmpp_2s_ancestral_cfg_pp",
    "res_2s",
];
/// No literal counts for more than this, so products stay meaningful.
const MAX_LITERAL: u64 = 1 << 20;

/// What the graph says of its own size.
struct Size {
    /// Steps of all samplers together, evaluations counted.
    steps: u64,
    /// Biggest area named, pixels; 0 if none.
    area: u64,
    /// Pictures at once.
    batch: u64,
    /// Frames of a moving picture.
    frames: u64,
}

/// The shape of the `executed` nodes of a graph.
pub(super) fn of(graph: &Graph, executed: &[bool], models: &[Model<'_>]) -> Shape {
    let nodes: Vec<&Node> =
        graph.nodes.iter().enumerate().filter(|(at, _)| executed[*at]).map(|(_, node)| node).collect();
    let size = Size::of(&nodes);
    let family = Family::guess(&nodes, models, size.area);
    Shape {
        id: id(&nodes, models, &size),
        family: family.id(),
        prior_run_ms: run_ms(family, &size),
        prior_vram_mib: vram_mib(family, &size),
    }
}

impl Size {
    fn of(nodes: &[&Node]) -> Self {
        let mut size = Self { steps: 0, area: 0, batch: 1, frames: 1 };
        for node in nodes {
            size.steps = size.steps.saturating_add(steps(node));
            let area = literal(node, "width").unwrap_or(0) * literal(node, "height").unwrap_or(0);
            size.area = size.area.max(area);
            size.batch = size.batch.max(literal(node, "batch_size").unwrap_or(1));
            let frames = ["length", "num_frames", "video_frames", "frames"];
            let frames = frames.iter().filter_map(|name| literal(node, name)).max();
            size.frames = size.frames.max(frames.unwrap_or(1));
        }
        size
    }

    fn area_for(&self, family: Family) -> u64 {
        if self.area == 0 { family.figures().base_area } else { self.area }
    }
}

/// Evaluations that a sampler (or the scheduler that feeds it) asks for.
fn steps(node: &Node) -> u64 {
    let Some((_, steps)) = node.inputs.iter().find(|(name, _)| name == "steps") else { return 0 };
    let steps = match steps {
        NodeInput::Link { .. } => DEFAULT_STEPS,
        NodeInput::Literal(_) => literal(node, "steps").unwrap_or(0),
    };
    let end = literal(node, "end_at_step").unwrap_or(steps).min(steps);
    let steps = end.saturating_sub(literal(node, "start_at_step").unwrap_or(0));
    let twice = node.inputs.iter().any(|(name, input)| match input {
        NodeInput::Literal(serde_json::Value::String(sampler)) => {
            name == "sampler_name" && TWICE_A_STEP.contains(&sampler.as_str())
        }
        _ => false,
    });
    if twice { steps.saturating_mul(2) } else { steps }
}

/// A literal whole number of a node.
fn literal(node: &Node, name: &str) -> Option<u64> {
    let (_, input) = node.inputs.iter().find(|(known, _)| known == name)?;
    match input {
        NodeInput::Literal(value) => match python::to_int(python::unwrapped(value)).ok()?? {
            python::Number::Int(int) => Some(u64::try_from(int.max(0)).unwrap_or(u64::MAX).min(MAX_LITERAL)),
            python::Number::Float(_) => None,
        },
        NodeInput::Link { .. } => None,
    }
}

fn run_ms(family: Family, size: &Size) -> u32 {
    let figures = family.figures();
    let area = size.area_for(family);
    let frames = if family == Family::Video { size.frames } else { 1 };
    let pictures = u128::from(size.batch) * u128::from(frames);
    let step_us = u128::from(figures.step_us) * u128::from(area) * pictures
        / (u128::from(figures.base_area) * u128::from(figures.base_frames));
    let sampling_ms = step_us.saturating_mul(u128::from(size.steps)) / 1000;
    let saving_ms = (u128::from(SAVE_MS_PER_MP) * u128::from(area) * pictures) >> 20;
    let total = sampling_ms.saturating_add(saving_ms).saturating_add(u128::from(OVERHEAD_MS));
    u32::try_from(total).unwrap_or(u32::MAX)
}

fn vram_mib(family: Family, size: &Size) -> u32 {
    let figures = family.figures();
    let pictures = size.batch.saturating_mul(if family == Family::Video { size.frames } else { 1 });
    let area = u128::from(size.area_for(family)) * u128::from(pictures);
    let work = u128::from(figures.vram_mib_per_mp).saturating_mul(area) >> 20;
    u32::try_from(work.saturating_add(u128::from(figures.base_vram_mib))).unwrap_or(u32::MAX)
}

/// Workflows with the same classes, nearly the same size and the same models cost alike, whatever their texts,
/// seeds and LoRA files.
fn id(nodes: &[&Node], models: &[Model<'_>], size: &Size) -> ShapeId {
    let mut words: Vec<&str> = nodes.iter().map(|node| node.class_type.as_str()).collect();
    words.sort_unstable();
    let mut files: Vec<&str> =
        models.iter().filter(|it| it.model.kind != ModelKind::Lora).map(|model| model.file).collect();
    files.sort_unstable();
    let buckets = [
        size.steps.div_ceil(4),
        size.area.div_ceil(1 << 16),
        if size.batch <= 8 { size.batch } else { size.batch.next_power_of_two() },
        size.frames.div_ceil(16),
    ]
    .map(|bucket| bucket.to_string());
    words.push("");
    words.extend(files);
    words.push("");
    words.extend(buckets.iter().map(String::as_str));
    ShapeId(parts::hash(&words))
}
