//! What jobs of each family look like. Times per step and their sources: `SOURCES.md` of the fixtures; the rest was
//! read off the public traces, which follow these formulas to the millisecond.

/// A picture size and how many jobs in a hundred have it.
pub(super) struct Size {
    pub(super) w: i64,
    pub(super) h: i64,
    pub(super) weight: u64,
}

/// One family of models.
pub(super) struct Family {
    pub(super) name: &'static str,
    /// Time of one step of one picture of the first size on the reference class, µs.
    pub(super) step_us: i64,
    /// Time beside the steps (text encoder, VAE), ms.
    pub(super) fixed_ms: i64,
    pub(super) sizes: &'static [Size],
    /// Steps and their weights.
    pub(super) steps: &'static [(i64, u64)],
    /// Pictures at once and their weights.
    pub(super) batches: &'static [(i64, u64)],
    pub(super) checkpoint_mib: i64,
    /// Smallest and largest.
    pub(super) lora_mib: (i64, i64),
    /// `None`: the family has no ControlNets.
    pub(super) controlnet_mib: Option<i64>,
    /// Peak of VRAM beside the weights for one picture of `peak_pixels`, MiB.
    pub(super) peak_mib: i64,
    pub(super) peak_pixels: i64,
}

const fn size(w: i64, h: i64, weight: u64) -> Size {
    Size { w, h, weight }
}

const STEPS: &[(i64, u64)] = &[(30, 885), (40, 75), (20, 10), (25, 10), (35, 10), (50, 10)];

pub(super) const FAMILIES: [Family; 4] = [
    Family {
        name: "sd15",
        step_us: 32_000,
        fixed_ms: 300,
        sizes: &[size(512, 512, 45), size(512, 768, 35), size(768, 768, 20)],
        steps: STEPS,
        batches: &[(1, 545), (2, 80), (4, 225), (8, 150)],
        checkpoint_mib: 2034,
        lora_mib: (36, 144),
        controlnet_mib: Some(689),
        peak_mib: 1400,
        peak_pixels: 512 * 512,
    },
    Family {
        name: "sdxl",
        step_us: 118_600,
        fixed_ms: 700,
        sizes: &[size(1024, 1024, 60), size(832, 1216, 30), size(1280, 1280, 10)],
        steps: STEPS,
        batches: &[(1, 555), (2, 80), (4, 305), (8, 60)],
        checkpoint_mib: 6617,
        lora_mib: (100, 432),
        controlnet_mib: Some(2386),
        peak_mib: 2600,
        peak_pixels: 1024 * 1024,
    },
    Family {
        name: "flux",
        step_us: 559_000,
        fixed_ms: 1500,
        sizes: &[size(1024, 1024, 68), size(896, 1152, 32)],
        steps: &[(28, 80), (20, 20)],
        batches: &[(1, 860), (2, 25), (4, 115)],
        checkpoint_mib: 16_447,
        lora_mib: (150, 600),
        controlnet_mib: Some(3150),
        peak_mib: 2300,
        peak_pixels: 1024 * 1024,
    },
    Family {
        name: "video",
        step_us: 6_000_000,
        fixed_ms: 6000,
        sizes: &[size(832, 480, 1)],
        steps: &[(30, 1)],
        batches: &[(1, 1)],
        checkpoint_mib: 9500,
        lora_mib: (170, 400),
        controlnet_mib: None,
        peak_mib: 7000,
        peak_pixels: 832 * 480,
    },
];

/// ControlNets of each family that has any.
pub(super) const CONTROLNETS: usize = 6;
