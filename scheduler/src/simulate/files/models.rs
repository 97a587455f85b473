//! models.json: the catalogue.

use std::collections::BTreeSet;

use super::fields::{Fields, parse};
use super::{BadFile, File, MOST, Names};
use crate::simulate::scenario::{Model, ModelIx, ModelRole};

pub(super) fn read(file: File<'_>, names: &mut Names) -> Result<Vec<Model>, BadFile> {
    let value = parse(file)?;
    let root = Fields::root(file.name, None, &value)?;
    let ids: BTreeSet<&str> = root.keys().collect();
    let mut models = Vec::with_capacity(ids.len());
    for (id, index) in ids.into_iter().zip(0..) {
        let fields = root.object(id)?;
        let role = match fields.text("kind")? {
            "checkpoint" => ModelRole::Checkpoint,
            "controlnet" => ModelRole::ControlNet,
            "lora" => ModelRole::Lora,
            other => {
                return Err(
                    fields.bad("kind", format!("must be checkpoint, controlnet or lora, not `{other}`"))
                );
            }
        };
        let family = fields.text("family")?;
        let Some(&family) = names.families.get(family) else {
            return Err(fields
                .bad("family", format!("is `{family}`, which the fleet's `sim.patch_ms` does not have")));
        };
        models.push(Model { id: id.to_owned(), role, family, mib: fields.int("mib", 0..=MOST)? });
        names.models.insert(id.to_owned(), ModelIx(index));
    }
    Ok(models)
}
