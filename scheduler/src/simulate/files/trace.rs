//! trace.jsonl: one job per line.

use std::collections::BTreeSet;

use super::fields::{Fields, parse_at};
use super::{BadFile, File, MOST, Names};
use crate::simulate::scenario::{Hidden, Job, ModelIx, ModelRole, Setting};

/// Most LoRAs and ControlNets of one job, each.
const MOST_EXTRAS: usize = 64;

pub(super) fn read(
    file: File<'_>,
    names: &Names,
    setting: &Setting,
) -> Result<(Vec<Job>, Vec<Hidden>), BadFile> {
    let (mut jobs, mut hidden) = (Vec::<Job>::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (text, number) in file.text.lines().zip(1..) {
        if text.trim().is_empty() {
            continue;
        }
        let value = parse_at(File { name: file.name, text }, number)?;
        let fields = Fields::root(file.name, Some(number), &value)?;
        let job = read_job(&fields, names, setting)?;
        if jobs.last().is_some_and(|before| job.t < before.t) {
            return Err(fields.bad("t", "is earlier than the line before; sort the trace by t"));
        }
        if !seen.insert(job.id.clone()) {
            return Err(fields.bad("job", format!("is `{}` a second time; ids must differ", job.id)));
        }
        hidden.push(Hidden {
            work_ms: fields.int("work_ms", 0..=MOST)?,
            peak_vram_mib: fields.int("peak_vram_mib", 0..=MOST)?,
        });
        jobs.push(job);
    }
    Ok((jobs, hidden))
}

fn read_job(fields: &Fields<'_>, names: &Names, setting: &Setting) -> Result<Job, BadFile> {
    let family = fields.text("family")?;
    let Some(&family_ix) = names.families.get(family) else {
        return Err(
            fields.bad("family", format!("is `{family}`, which the fleet's `sim.patch_ms` does not have"))
        );
    };
    let tenant = fields.text("tenant")?;
    let Some(&tenant_ix) = names.tenants.get(tenant) else {
        return Err(fields.bad("tenant", format!("is `{tenant}`, which the fleet's `tenants` does not have")));
    };
    let model = |key: &str, id: &str, role: ModelRole| {
        let found = names.models.get(id).copied().filter(|ix| setting_role(setting, *ix) == Some(role));
        found.ok_or_else(|| {
            fields.bad(key, format!("names `{id}`, which the catalogue does not have as {}", role_name(role)))
        })
    };
    let models = |key: &str, role: ModelRole| {
        let ids = fields.texts(key)?;
        if ids.len() > MOST_EXTRAS {
            return Err(fields.bad(key, format!("must name at most {MOST_EXTRAS} models")));
        }
        ids.into_iter().map(|id| model(key, id, role)).collect::<Result<Vec<_>, _>>()
    };
    let prio = fields.int("prio", 0..=2)?;
    Ok(Job {
        id: fields.text("job")?.to_owned(),
        t: fields.int("t", 0..=MOST)?,
        tenant: tenant_ix,
        prio: u8::try_from(prio).unwrap_or(0),
        family: family_ix,
        ckpt: model("ckpt", fields.text("ckpt")?, ModelRole::Checkpoint)?,
        loras: models("loras", ModelRole::Lora)?,
        cns: models("cns", ModelRole::ControlNet)?,
        steps: fields.int("steps", 0..=MOST)?,
        w: fields.int("w", 0..=MOST)?,
        h: fields.int("h", 0..=MOST)?,
        batch: fields.int("batch", 0..=MOST)?,
        est_ms: fields.int("est_ms", 0..=MOST)?,
        est_vram_mib: fields.int("est_vram_mib", 0..=MOST)?,
        deadline: fields.int_or_null("deadline", 0..=MOST)?,
    })
}

fn setting_role(setting: &Setting, model: ModelIx) -> Option<ModelRole> {
    setting.models.get(model.index()).map(|model| model.role)
}

fn role_name(role: ModelRole) -> &'static str {
    match role {
        ModelRole::Checkpoint => "a checkpoint",
        ModelRole::ControlNet => "a ControlNet",
        ModelRole::Lora => "a LoRA",
    }
}
