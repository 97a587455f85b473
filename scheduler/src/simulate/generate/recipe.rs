//! The nine kinds of scenarios.

/// How arrivals are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wave {
    /// Evenly.
    Even,
    /// A day's wave with bursts.
    Daily,
    /// Evenly, and the first tenant floods for a part of the time.
    Flood,
}

/// Deadlines of one service class: arrival + est_ms × factor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Jobs in a thousand that have one.
    pub(super) share_milli: u64,
    /// Least and greatest factor, thousandths.
    pub(super) factor_milli: (i64, i64),
    /// At least so long after arrival, ms.
    pub(super) least_ms: i64,
}

/// What one kind of scenario is made of. Lists by family: sd15, sdxl, flux, video.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    pub(super) duration_ms: i64,
    /// Load in thousandths of the ideal capacity of the trace's own jobs, overhead included.
    ///
    /// The README's figures (40 %, 70 %, …) were set against the capacity of a small sample; what the public files
    /// really have differs by up to a fifth, because a few videos weigh so much. These are the loads they have.
    pub(super) load_milli: u64,
    /// Load of the first tenant while it floods.
    pub(super) flood_milli: u64,
    pub(super) wave: Wave,
    pub(super) families: [u64; 4],
    pub(super) checkpoints: [u32; 4],
    pub(super) checkpoint_zipf_milli: i64,
    pub(super) loras: [u32; 4],
    /// Jobs with 0, 1, 2 and 3 LoRAs.
    pub(super) lora_counts: [u64; 4],
    /// How many in a thousand repeat the models of the tenant's job before.
    pub(super) repeat_milli: u64,
    /// One weight of fair share per tenant.
    pub(super) tenants: &'static [i64],
    pub(super) tenant_zipf_milli: i64,
    /// Jobs of classes 0, 1 and 2.
    pub(super) prios: [u64; 3],
    pub(super) deadlines: [Deadlines; 3],
    /// Jobs in a thousand whose peak of VRAM is larger than predicted.
    pub(super) under_milli: u64,
    /// Whether nodes fail and spot nodes are taken away.
    pub(super) failures: bool,
}

/// A name that is no scenario's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario `{name}` to generate; there are {}", NAMES.join(", "))]
pub struct UnknownRecipe {
    name: String,
}

pub(super) const NAMES: [&str; 9] = [
    "light",
    "steady",
    "diurnal_burst",
    "heavy_tail",
    "noisy_tenant",
    "failures_spot",
    "deadline_mix",
    "mixed_vram",
    "overload",
];

const EQUAL_8: &[i64] = &[1; 8];
const EQUAL_16: &[i64] = &[1; 16];

const fn deadlines(share_milli: u64, factor_milli: (i64, i64), least_ms: i64) -> Deadlines {
    Deadlines { share_milli, factor_milli, least_ms }
}

impl Recipe {
    pub(super) fn named(name: &str) -> Result<Self, UnknownRecipe> {
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(UnknownRecipe { name: name.to_owned() });
        };
        let common = Self::common(name);
        Ok(match name {
            "light" => Self { load_milli: 491, ..common },
            "diurnal_burst" => Self { load_milli: 600, wave: Wave::Daily, ..common },
            "heavy_tail" => Self {
                load_milli: 567,
                checkpoints: [70, 86, 34, 10],
                checkpoint_zipf_milli: 900,
                loras: [700, 1000, 260, 40],
                lora_counts: [550, 385, 65, 0],
                repeat_milli: 600,
                tenants: EQUAL_16,
                ..common
            },
            "noisy_tenant" => Self { load_milli: 554, flood_milli: 1218, wave: Wave::Flood, ..common },
            "failures_spot" => Self { load_milli: 577, failures: true, ..common },
            "deadline_mix" => Self {
                load_milli: 728,
                prios: [250, 500, 250],
                deadlines: [
                    deadlines(300, (20_000, 80_000), 12_000),
                    deadlines(700, (4000, 20_000), 12_000),
                    deadlines(1000, (2500, 6000), 12_000),
                ],
                ..common
            },
            "mixed_vram" => Self {
                load_milli: 703,
                families: [280, 340, 330, 50],
                checkpoints: [17, 20, 19, 4],
                loras: [160, 200, 200, 20],
                under_milli: 40,
                ..common
            },
            "overload" => Self {
                duration_ms: 3_600_000,
                load_milli: 1185,
                tenants: &[1, 1, 1, 1, 2, 2, 4, 4],
                tenant_zipf_milli: 300,
                ..common
            },
            _ => common,
        })
    }

    /// Another load; a flood grows with it.
    pub(super) fn set_load(&mut self, load_milli: u64) {
        self.flood_milli = self.flood_milli.saturating_mul(load_milli) / self.load_milli;
        self.load_milli = load_milli;
    }

    /// `steady`, from which the others differ.
    fn common(name: &'static str) -> Self {
        Self {
            name,
            duration_ms: 7_200_000,
            load_milli: 797,
            flood_milli: 0,
            wave: Wave::Even,
            families: [350, 490, 140, 20],
            checkpoints: [21, 26, 10, 3],
            checkpoint_zipf_milli: 1430,
            loras: [210, 300, 78, 12],
            lora_counts: [780, 205, 11, 4],
            repeat_milli: 710,
            tenants: EQUAL_8,
            tenant_zipf_milli: 800,
            prios: [200, 650, 150],
            deadlines: [
                deadlines(0, (1000, 1000), 0),
                deadlines(100, (6000, 30_000), 20_000),
                deadlines(500, (3000, 8000), 20_000),
            ],
            under_milli: 5,
            failures: false,
        }
    }
}
