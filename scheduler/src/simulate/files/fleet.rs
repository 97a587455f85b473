//! nodes.json: classes, tenants, nodes, their events and the constants.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, parse};
use super::{BadFile, File, MOST, Names};
use crate::simulate::scenario::{
    ClassIx, Constants, DeviceClass, FamilyIx, Node, NodeEvent, NodeEventKind, NodeIx, Setting, Speed,
    Tenant, TenantIx,
};

/// Most nodes of a fleet.
const MOST_NODES: usize = 100_000;

pub(super) struct Fleet {
    pub(super) setting: Setting,
    pub(super) speed_milli: Vec<Vec<i64>>,
    pub(super) events: Vec<NodeEvent>,
    pub(super) compliant: Vec<bool>,
}

pub(super) fn read(file: File<'_>) -> Result<(Fleet, Names), BadFile> {
    let value = parse(file)?;
    let root = Fields::root(file.name, None, &value)?;
    let mut names = Names::default();
    let constants = root.object("sim")?;
    let patch = constants.object("patch_ms")?;
    let families: BTreeSet<&str> = patch.keys().collect();
    names.families = families.iter().copied().map(str::to_owned).zip((0..).map(FamilyIx)).collect();
    let (classes, class_names) = read_classes(&root, &families)?;
    let nodes = read_nodes(&root, &class_names)?;
    let (tenants, compliant) = read_tenants(&root, &mut names)?;
    let events = read_events(&root, &nodes)?;
    let speed_milli =
        classes.iter().map(|class| class.speeds.iter().map(|speed| milli(*speed)).collect()).collect();
    let setting = Setting {
        classes,
        nodes,
        tenants,
        families: families.iter().copied().map(str::to_owned).collect(),
        models: Vec::new(),
        constants: read_constants(&constants, &patch, &families)?,
    };
    Ok((Fleet { setting, speed_milli, events, compliant }, names))
}

fn milli(speed: Speed) -> i64 {
    match speed {
        Speed::Milli(milli) => milli,
        Speed::CannotRun | Speed::Unknown => 0,
    }
}

type ClassNames<'a> = BTreeMap<&'a str, ClassIx>;

fn read_classes<'a>(
    root: &Fields<'a>,
    families: &BTreeSet<&str>,
) -> Result<(Vec<DeviceClass>, ClassNames<'a>), BadFile> {
    let object = root.object("classes")?;
    let names: BTreeSet<&str> = object.keys().collect();
    let mut classes = Vec::new();
    for name in &names {
        let class = object.object(name)?;
        let speeds = class.object("speed_milli")?;
        if let Some(unknown) = speeds.keys().find(|family| !families.contains(family)) {
            return Err(speeds.bad(unknown, "is no family of `sim.patch_ms`; add it there"));
        }
        let speed = |family: &&str| match speeds.int_or_null(family, 0..=1_000_000)? {
            None | Some(0) => Ok(Speed::CannotRun),
            Some(milli) => Ok(Speed::Milli(milli)),
        };
        classes.push(DeviceClass {
            name: (*name).to_owned(),
            vram_mib: class.int("vram_mib", 0..=MOST)?,
            usd_micro_per_hour: class.micros("usd_per_hour", 1e6)?,
            speeds: families.iter().map(speed).collect::<Result<_, _>>()?,
            disk_mib_s: class.int("disk_mib_s", 1..=MOST)?,
            pcie_mib_s: class.int("pcie_mib_s", 1..=MOST)?,
            host_cache_mib: class.int("host_cache_mib", 0..=MOST)?,
        });
    }
    Ok((classes, names.into_iter().zip((0..).map(ClassIx)).collect()))
}

fn read_nodes(root: &Fields<'_>, classes: &ClassNames<'_>) -> Result<Vec<Node>, BadFile> {
    let objects = root.objects("nodes")?;
    if objects.is_empty() || objects.len() > MOST_NODES {
        return Err(root.bad("nodes", format!("must hold from 1 to {MOST_NODES} nodes")));
    }
    let mut seen = BTreeSet::new();
    let mut nodes = Vec::with_capacity(objects.len());
    for fields in objects {
        let (id, class) = (fields.text("id")?, fields.text("class")?);
        if !seen.insert(id) {
            return Err(fields.bad("id", format!("is `{id}` a second time; ids must differ")));
        }
        let Some(&class) = classes.get(class) else {
            return Err(
                fields.bad("class", format!("is `{class}`, which `classes` does not have; add it there"))
            );
        };
        nodes.push(Node { id: id.to_owned(), class, spot: fields.flag("spot")? });
    }
    Ok(nodes)
}

fn read_tenants(root: &Fields<'_>, names: &mut Names) -> Result<(Vec<Tenant>, Vec<bool>), BadFile> {
    let object = root.object("tenants")?;
    let sorted: BTreeSet<&str> = object.keys().collect();
    let (mut tenants, mut compliant) = (Vec::new(), Vec::new());
    for (name, index) in sorted.into_iter().zip(0..) {
        let tenant = object.object(name)?;
        tenants.push(Tenant { name: name.to_owned(), weight: tenant.int("weight", 1..=1_000_000)? });
        compliant.push(tenant.flag("compliant")?);
        names.tenants.insert(name.to_owned(), TenantIx(index));
    }
    Ok((tenants, compliant))
}

fn read_events(root: &Fields<'_>, nodes: &[Node]) -> Result<Vec<NodeEvent>, BadFile> {
    let by_id: BTreeMap<&str, NodeIx> =
        nodes.iter().map(|node| node.id.as_str()).zip((0..).map(NodeIx)).collect();
    let objects = root.objects("events")?;
    let mut events = Vec::with_capacity(objects.len());
    for fields in objects {
        let id = fields.text("node")?;
        let Some(&node) = by_id.get(id) else {
            return Err(fields.bad("node", format!("is `{id}`, which `nodes` does not have; add it there")));
        };
        let kind = match fields.text("kind")? {
            "notice" => NodeEventKind::Notice { down_at: fields.int("down_at", 0..=MOST)? },
            "down" => NodeEventKind::Down,
            "up" => NodeEventKind::Up,
            other => return Err(fields.bad("kind", format!("must be notice, down or up, not `{other}`"))),
        };
        events.push(NodeEvent { t: fields.int("t", 0..=MOST)?, node, kind });
    }
    Ok(events)
}

fn read_constants(
    sim: &Fields<'_>,
    patch: &Fields<'_>,
    families: &BTreeSet<&str>,
) -> Result<Constants, BadFile> {
    let fixed = sim.object("fixed_ms")?;
    let patch_ms = families.iter().map(|family| patch.int(family, 0..=MOST));
    let max_attempts = sim.int("max_attempts", 1..=1000)?;
    Ok(Constants {
        overhead_ms: sim.int("overhead_ms", 0..=MOST)?,
        fixed_checkpoint_ms: fixed.int("checkpoint", 0..=MOST)?,
        fixed_controlnet_ms: fixed.int("controlnet", 0..=MOST)?,
        fixed_lora_ms: fixed.int("lora", 0..=MOST)?,
        patch_ms: patch_ms.collect::<Result<_, _>>()?,
        interrupt_ms: sim.int("interrupt_ms", 0..=MOST)?,
        oom_ms: sim.int("oom_ms", 0..=MOST)?,
        max_attempts: u32::try_from(max_attempts).unwrap_or(u32::MAX),
    })
}
