//! The fleet of the public scenarios, in a drawn order, and what happens to its nodes.

use serde_json::{Map, Value, json};

use super::draw::{between, shuffle};
use super::recipe::{Recipe, Wave};
use crate::rng::Rng;
use crate::simulate::fixed;

/// One device class: name, nodes, VRAM, price, speeds of sd15, sdxl, flux and video, disk, PCIe and host cache.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) nodes: u32,
    pub(super) vram_mib: i64,
    usd_per_hour: f64,
    pub(super) speed_milli: [i64; 4],
    disk_mib_s: i64,
    pcie_mib_s: i64,
    host_cache_mib: i64,
}

#[rustfmt::skip]
pub(super) const CLASSES: [Class; 7] = [
    Class { name: "T4-16", nodes: 6, vram_mib: 15_360, usd_per_hour: 0.73, speed_milli: [250, 160, 0, 0], disk_mib_s: 200, pcie_mib_s: 2000, host_cache_mib: 20_480 },
    Class { name: "V100-16", nodes: 3, vram_mib: 16_160, usd_per_hour: 2.86, speed_milli: [660, 470, 0, 0], disk_mib_s: 240, pcie_mib_s: 2500, host_cache_mib: 40_960 },
    Class { name: "V100-32", nodes: 3, vram_mib: 32_500, usd_per_hour: 3.1, speed_milli: [660, 470, 200, 350], disk_mib_s: 240, pcie_mib_s: 2500, host_cache_mib: 49_152 },
    Class { name: "L4-24", nodes: 4, vram_mib: 22_900, usd_per_hour: 0.85, speed_milli: [320, 280, 240, 220], disk_mib_s: 350, pcie_mib_s: 3000, host_cache_mib: 24_576 },
    Class { name: "A100-40", nodes: 4, vram_mib: 40_300, usd_per_hour: 3.67, speed_milli: [980, 960, 960, 950], disk_mib_s: 500, pcie_mib_s: 4000, host_cache_mib: 65_536 },
    Class { name: "A100-80", nodes: 2, vram_mib: 81_000, usd_per_hour: 5.07, speed_milli: [1000; 4], disk_mib_s: 600, pcie_mib_s: 4000, host_cache_mib: 131_072 },
    Class { name: "H100-80", nodes: 2, vram_mib: 81_000, usd_per_hour: 9.8, speed_milli: [1640, 1800, 2200, 2000], disk_mib_s: 1200, pcie_mib_s: 6000, host_cache_mib: 184_320 },
];

/// Paid by every attempt.
pub(super) const OVERHEAD_MS: i64 = 150;

/// How often and for how long nodes go away; times in seconds.
struct Outages {
    up_s: i64,
    down_s: (i64, i64),
    /// Told so long before.
    notice_ms: Option<i64>,
}

const SPOT: Outages = Outages { up_s: 2700, down_s: (180, 900), notice_ms: Some(30_000) };
const FAILURES: Outages = Outages { up_s: 10_800, down_s: (60, 400), notice_ms: None };
/// Spot nodes of each class in a fleet that has any, in the order of [`CLASSES`]: those of the public one.
const SPOT_NODES: [u32; 7] = [0, 3, 0, 4, 1, 2, 0];

/// Nodes by position: their class, and whether they are spot.
pub(super) struct Fleet {
    pub(super) nodes: Vec<(usize, bool)>,
    events: Vec<Value>,
}

pub(super) fn draw(recipe: &Recipe, rng: &mut Rng) -> Fleet {
    let spots = if recipe.failures { SPOT_NODES } else { [0; 7] };
    let classes = CLASSES.iter().zip(spots).enumerate();
    let mut nodes: Vec<(usize, bool)> =
        classes.flat_map(|(at, (class, spot))| (0..class.nodes).map(move |node| (at, node < spot))).collect();
    shuffle(rng, &mut nodes);
    let mut events = Vec::new();
    if recipe.failures {
        for (node, (_, spot)) in nodes.iter().enumerate() {
            let outages = if *spot { &SPOT } else { &FAILURES };
            outages.draw(node, recipe.duration_ms, rng, &mut events);
        }
        events.sort_by_key(|(t, node, rank, _)| (*t, *node, *rank));
    }
    Fleet { nodes, events: events.into_iter().map(|(.., event)| event).collect() }
}

impl Outages {
    fn draw(&self, node: usize, duration_ms: i64, rng: &mut Rng, events: &mut Vec<(i64, usize, u8, Value)>) {
        let name = node_name(node);
        let mut now = 0;
        loop {
            let up_ms = fixed::scale(self.up_s * 1000, fixed::exponential(rng).unsigned_abs());
            let down_at = now + up_ms.max(self.notice_ms.unwrap_or(0));
            if down_at >= duration_ms {
                return;
            }
            if let Some(notice_ms) = self.notice_ms {
                let t = down_at - notice_ms;
                events.push((
                    t,
                    node,
                    0,
                    json!({ "t": t, "node": name, "kind": "notice", "down_at": down_at }),
                ));
            }
            events.push((down_at, node, 1, json!({ "t": down_at, "node": name, "kind": "down" })));
            now = down_at + between(rng, self.down_s.0 * 1000, self.down_s.1 * 1000);
            events.push((now, node, 2, json!({ "t": now, "node": name, "kind": "up" })));
        }
    }
}

fn node_name(node: usize) -> String {
    format!("n{node:03}")
}

pub(super) fn to_json(recipe: &Recipe, fleet: &Fleet, meta: Value) -> String {
    let classes: Map<String, Value> = CLASSES
        .iter()
        .map(|class| {
            let [sd15, sdxl, flux, video] = class.speed_milli;
            let entry = json!({
                "disk_mib_s": class.disk_mib_s, "host_cache_mib": class.host_cache_mib,
                "pcie_mib_s": class.pcie_mib_s, "usd_per_hour": class.usd_per_hour, "vram_mib": class.vram_mib,
                "speed_milli": { "sd15": sd15, "sdxl": sdxl, "flux": flux, "video": video },
            });
            (class.name.to_owned(), entry)
        })
        .collect();
    let nodes: Vec<Value> = fleet
        .nodes
        .iter()
        .enumerate()
        .map(
            |(at, (class, spot))| json!({ "id": node_name(at), "class": CLASSES[*class].name, "spot": spot }),
        )
        .collect();
    let tenants: Map<String, Value> = recipe
        .tenants
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            let floods = recipe.wave == Wave::Flood && at == 0;
            (format!("t{at}"), json!({ "weight": weight, "compliant": !floods }))
        })
        .collect();
    let value = json!({
        "version": 1, "meta": meta, "classes": classes, "nodes": nodes, "events": fleet.events, "tenants": tenants,
        "sim": {
            "overhead_ms": OVERHEAD_MS, "fixed_ms": { "checkpoint": 400, "controlnet": 200, "lora": 60 },
            "patch_ms": { "sd15": 300, "sdxl": 900, "flux": 2500, "video": 1500 },
            "interrupt_ms": 500, "oom_ms": 1000, "max_attempts": 5, "reference_class": "A100-80",
        },
    });
    format!("{value:#}\n")
}
