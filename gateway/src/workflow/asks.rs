//! How much a workflow asks for, as far as its literals tell (PROTOCOL §9: `16384 × 16384 × 4096` is valid for ComfyUI
//! and exhausts its memory).
//!
//! Sizes are known by the names that inputs have everywhere (`width`, `height`, `batch_size`, `steps` …), not by a table
//! of classes: a class with another vocabulary is not bounded by this. What a link brings is followed while its source
//! is one plain number; anything else is unknown, and said so. Pictures and frames grow along links: a repeated batch of
//! a batch, an enlarged picture.

use serde_json::Value;

use super::graph::{Graph, Node, NodeInput};
use super::python::{self, Number};

/// Inputs that say how many frames or pictures a node makes.
const COUNTS: [&str; 9] = [
    "batch_size",
    "length",
    "frames",
    "num_frames",
    "video_frames",
    "frame_count",
    "amount",
    "repeats",
    "batch",
];
/// Inputs that say how wide a picture is, or how long its longer or both sides are.
const SIDES: [&str; 6] = ["width", "size", "resolution", "largest_size", "longer_edge", "shorter_edge"];
/// Inputs that enlarge by a factor on each side.
const FACTORS: [&str; 3] = ["scale_by", "upscale_by", "scale_factor"];
/// A unit of picture size: 1024 × 1024.
pub const MEGAPIXEL: u64 = 1 << 20;
/// No sum goes beyond it; what comes near is beyond every bound.
const MOST: u64 = 1 << 48;

/// What a workflow asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asks {
    /// Most steps of one node.
    pub steps: Asked,
    /// Pixels of the biggest picture.
    pub pixels: Asked,
    /// Most pictures or frames of one node.
    pub frames: Asked,
    /// Most pixels of all pictures of one node.
    pub volume: Asked,
}

/// The most of something, and which node asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// How much.
    pub most: u64,
    /// Which node.
    pub node: Option<String>,
    /// A node and its input whose value cannot be told before it runs.
    pub unknown: Option<(String, String)>,
}

impl Asked {
    fn raise(&mut self, to: u64, node: &Node) {
        if to > self.most {
            self.most = to;
            self.node = Some(node.id.clone());
        }
    }

    fn is_unknown_at(&mut self, node: &Node, input: &str) {
        if self.unknown.is_none() {
            self.unknown = Some((node.id.clone(), input.to_owned()));
        }
    }
}

/// What flows out of a node.
#[derive(Clone, Copy)]
struct Flow {
    pixels: u64,
    frames: u64,
}

/// Finds out what a graph asks for.
#[must_use]
pub fn asks(graph: &Graph) -> Asks {
    let mut asks = Asks::default();
    let mut flows: Vec<Option<Flow>> = vec![None; graph.nodes.len()];
    for at in graph.plan.in_order() {
        let flow = of_node(graph, at, &flows, &mut asks);
        flows[at] = Some(flow);
    }
    asks
}

fn of_node(graph: &Graph, at: usize, flows: &[Option<Flow>], asks: &mut Asks) -> Flow {
    let node = &graph.nodes[at];
    let mut sizes = Sizes::default();
    for (index, (name, _)) in node.inputs.iter().enumerate() {
        let Some(size) = Size::of(name) else { continue };
        match value(graph, at, index) {
            Known::Number(number) if size == Size::Steps => asks.steps.raise(whole(number), node),
            Known::Number(number) => sizes.take(size, number),
            Known::Nothing => {}
            Known::Unknown => asks.is_unknown_at(size, node, name),
        }
    }
    let flow = sizes.applied_to(fed(graph, at, flows));
    asks.pixels.raise(flow.pixels, node);
    asks.frames.raise(flow.frames, node);
    asks.volume.raise(flow.pixels.saturating_mul(flow.frames), node);
    flow
}

/// What the number of an input means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Width,
    Height,
    Count,
    Factor,
    Megapixels,
    Steps,
}

impl Size {
    /// By the name of the input; below a dynamic one (`resize.width`) it means the same.
    fn of(name: &str) -> Option<Self> {
        let word = name.rsplit('.').next().unwrap_or(name);
        Some(match word {
            "steps" => Self::Steps,
            "megapixels" => Self::Megapixels,
            word if COUNTS.contains(&word) => Self::Count,
            word if FACTORS.contains(&word) => Self::Factor,
            word if word == "height" || word.ends_with("_height") => Self::Height,
            word if SIDES.contains(&word) || word.ends_with("_width") => Self::Width,
            _ => return None,
        })
    }
}

/// The sizes that a node names.
struct Sizes {
    width: u64,
    height: u64,
    pixels: u64,
    frames: u64,
    factor: f64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { width: 0, height: 0, pixels: 0, frames: 1, factor: 1.0 }
    }
}

impl Sizes {
    fn take(&mut self, size: Size, number: Number) {
        match size {
            Size::Width => self.width = self.width.max(whole(number)),
            Size::Height => self.height = self.height.max(whole(number)),
            Size::Count => self.frames = self.frames.saturating_mul(whole(number).max(1)).min(MOST),
            Size::Factor => self.factor *= float(number).max(0.0),
            Size::Megapixels => self.pixels = self.pixels.max(scaled(MEGAPIXEL, float(number))),
            Size::Steps => {}
        }
    }

    /// What flows out when this comes in. One side alone is taken for that of a square.
    fn applied_to(&self, fed: Flow) -> Flow {
        let width = if self.width == 0 { self.height } else { self.width };
        let height = if self.height == 0 { self.width } else { self.height };
        let own = width.saturating_mul(height).max(self.pixels);
        let pixels = if own > 0 { own } else { scaled(fed.pixels, self.factor * self.factor) };
        Flow { pixels: pixels.min(MOST), frames: self.frames.saturating_mul(fed.frames).min(MOST) }
    }
}

impl Asks {
    fn is_unknown_at(&mut self, size: Size, node: &Node, input: &str) {
        let asked = match size {
            Size::Steps => return self.steps.is_unknown_at(node, input),
            Size::Count => &mut self.frames,
            Size::Width | Size::Height | Size::Factor | Size::Megapixels => &mut self.pixels,
        };
        asked.is_unknown_at(node, input);
        self.volume.is_unknown_at(node, input);
    }
}

/// What comes in: the biggest picture, and the most frames. Inputs that are counted (`image1`, `image2`) come together.
fn fed(graph: &Graph, at: usize, flows: &[Option<Flow>]) -> Flow {
    let (mut pixels, mut single, mut together) = (0, 1_u64, 0_u64);
    for (index, (name, _)) in graph.nodes[at].inputs.iter().enumerate() {
        let source = graph.plan.sources[at].get(index).copied().flatten();
        let Some(flow) = source.and_then(|source| flows[source]) else { continue };
        pixels = pixels.max(flow.pixels);
        if name.ends_with(|last: char| last.is_ascii_digit()) {
            together = together.saturating_add(flow.frames).min(MOST);
        } else {
            single = single.max(flow.frames);
        }
    }
    Flow { pixels, frames: single.max(together) }
}

enum Known {
    Number(Number),
    /// It is there and no number: the check of the input says so.
    Nothing,
    /// A link whose source is more than one plain number.
    Unknown,
}

fn value(graph: &Graph, at: usize, index: usize) -> Known {
    let mut node = at;
    let mut input = index;
    // A chain of plain numbers is no longer than the graph, which has no rings.
    for _ in 0..graph.nodes.len() {
        match &graph.nodes[node].inputs[input].1 {
            NodeInput::Literal(literal) => return literal_number(python::unwrapped(literal)),
            NodeInput::Link { .. } => {
                let Some(source) = graph.plan.sources[node].get(input).copied().flatten() else {
                    return Known::Nothing;
                };
                // A class with one input that is called `value` is a primitive: it hands its value on.
                match graph.nodes[source].inputs.as_slice() {
                    [(name, _)] if name == "value" => (node, input) = (source, 0),
                    _ => return Known::Unknown,
                }
            }
        }
    }
    Known::Unknown
}

fn literal_number(value: &Value) -> Known {
    match python::to_float(value) {
        Ok(Some(number)) => Known::Number(number),
        Ok(None) => Known::Nothing,
        // Digits of other scripts: Python may read them.
        Err(python::Unsure) => Known::Unknown,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "floats saturate, and both ends are cut off"
)]
fn whole(number: Number) -> u64 {
    match number {
        Number::Int(int) => u64::try_from(int.max(0)).unwrap_or(MOST).min(MOST),
        Number::Float(float) if float.is_nan() => MOST,
        Number::Float(float) => (float.max(0.0) as u64).min(MOST),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bound is not that precise")]
fn float(number: Number) -> f64 {
    match number {
        Number::Int(int) => int as f64,
        Number::Float(float) if float.is_nan() => f64::INFINITY,
        Number::Float(float) => float,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bound is not that precise")]
fn scaled(size: u64, by: f64) -> u64 {
    if size == 0 { 0 } else { whole(Number::Float(size as f64 * by)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::Limits;

    fn of(graph: serde_json::Value) -> Asks {
        asks(&Graph::parse(&graph.to_string(), &Limits::default()).unwrap())
    }

    fn node(class: &str, inputs: serde_json::Value) -> serde_json::Value {
        json!({"class_type": class, "inputs": inputs})
    }

    #[test]
    fn a_plain_picture_asks_for_what_it_says() {
        let asks = of(json!({
            "1": node("EmptyLatentImage", json!({"width": 1024, "height": "768", "batch_size": 4})),
            "2": node("KSampler", json!({"latent_image": ["1", 0], "steps": 20, "model": ["3", 0]})),
            "3": node("CheckpointLoaderSimple", json!({"ckpt_name": "a.safetensors"})),
        }));
        assert_eq!((asks.steps.most, asks.pixels.most, asks.frames.most), (20, 1024 * 768, 4));
        assert_eq!(asks.volume.most, 4 * 1024 * 768);
        assert_eq!(asks.frames.node.as_deref(), Some("1"));
    }

    #[test]
    fn repeats_and_enlargements_multiply_along_the_links() {
        let asks = of(json!({
            "1": node("EmptyImage", json!({"width": 64, "height": 64, "batch_size": 8})),
            "2": node("RepeatImageBatch", json!({"image": ["1", 0], "amount": 10})),
            "3": node("ImageBatch", json!({"image1": ["2", 0], "image2": ["2", 0]})),
            "4": node("ImageScaleBy", json!({"image": ["3", 0], "scale_by": 4.0})),
            "5": node("ImageScaleBy", json!({"image": ["4", 0], "scale_by": {"__value__": 4}})),
        }));
        assert_eq!(asks.frames.most, 160);
        assert_eq!(asks.pixels.most, 64 * 64 * 256);
    }

    #[test]
    fn what_a_primitive_brings_is_known_and_what_is_computed_is_not() {
        let linked = |source: serde_json::Value| {
            of(json!({
                "1": source,
                "2": node("EmptyImage", json!({"width": ["1", 0], "height": 16, "batch_size": 1})),
            }))
        };
        assert_eq!(linked(node("PrimitiveInt", json!({"value": 4096}))).pixels.most, 4096 * 16);
        let computed = linked(node("Add", json!({"a": 16384, "b": 1})));
        assert_eq!(computed.pixels.unknown, Some(("2".into(), "width".into())));
        assert_eq!(computed.steps.unknown, None);
    }

    #[test]
    fn numbers_beyond_all_measure_are_most() {
        for value in [
            json!(1e300),
            json!("inf"),
            json!("nan"),
            json!(u64::MAX),
            json!("1_000_000_000_000_000_000_000"),
        ] {
            let asks = of(json!({"1": node("X", json!({"width": value, "height": value, "steps": value}))}));
            assert!(asks.pixels.most >= MOST && asks.steps.most >= MOST, "{value}");
        }
        let digits = of(json!({"1": node("X", json!({"steps": "٣٣٣٣"}))}));
        assert!(digits.steps.unknown.is_some());
    }
}
