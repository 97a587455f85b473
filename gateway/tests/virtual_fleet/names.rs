//! The model's words in those of the gateway: families are node classes, models are files, nodes are instances.

use std::sync::Arc;

use gateway::link::message::{InstanceFacts, LoadingFacts};
use gateway::store::JobPlan;
use gateway::workflow::{self, Catalogue};
use scheduler::simulate::{
    DeviceClass, Job, Model, ModelIx, ModelRole, NodeIx, Setting, Speed, darkroom_shape,
};
use scheduler::{Class, ModelKind, ModelUse, Part, Requirement, Shape, Timestamp};
use serde_json::{Map, Value, json};

/// An `/object_info` in which each family that the class can run is a node class.
pub fn object_info(setting: &Setting, class: &DeviceClass) -> String {
    let families = setting.families.iter().zip(&class.speeds).filter(|(_, speed)| speed.runs());
    describe(families.map(|(family, _)| family.as_str()))
}

fn describe<'a>(families: impl Iterator<Item = &'a str>) -> String {
    let classes: Map<String, Value> = families
        .map(|family| (family.to_owned(), json!({ "input": {}, "output": [], "output_node": true })))
        .collect();
    Value::Object(classes).to_string()
}

fn part(family: &str) -> Part {
    let alone = Catalogue::read(&describe(std::iter::once(family))).unwrap();
    alone.parts.parts[0]
}

pub fn hash(object_info: &str) -> String {
    blake3::hash(object_info.as_bytes()).to_hex().to_string()
}

/// What a runner reports of an instance.
pub fn facts(setting: &Setting, node: NodeIx) -> InstanceFacts {
    let class = setting.class_of(node);
    let id = &setting.nodes[node.index()].id;
    let speed = |(family, speed): (&String, &Speed)| match speed {
        Speed::Milli(milli) => Some((family.clone(), small(*milli))),
        Speed::Unknown | Speed::CannotRun => None,
    };
    InstanceFacts {
        url: format!("http://{id}:8188"),
        comfyui_version: None,
        device_name: class.name.clone(),
        device_class: class.name.to_lowercase(),
        speed_milli: 1000,
        vram_mib: Some(small(class.vram_mib)),
        vram_split: false,
        device_uuid: Some(format!("GPU-{id}")),
        catalogue: Some(hash(&object_info(setting, class))),
        family_speeds: setting.families.iter().zip(&class.speeds).filter_map(speed).collect(),
        loading: Some(LoadingFacts {
            disk_mib_s: small(class.disk_mib_s),
            pcie_mib_s: small(class.pcie_mib_s),
            host_cache_mib: small(class.host_cache_mib),
        }),
        models_mib: Arc::new(setting.models.iter().map(|model| (path(model), small(model.mib))).collect()),
    }
}

/// What the front of a gateway would have made of the graph; `began_at` is the model's zero.
pub fn plan(setting: &Setting, job: &Job, began_at: i64) -> JobPlan {
    JobPlan {
        class: [Class::Batch, Class::Normal, Class::Interactive][usize::from(job.prio)],
        weight: small(setting.tenants[job.tenant.index()].weight),
        concurrency: u32::MAX,
        order: None,
        start_deadline: None,
        deadline: Timestamp::NEVER.0,
        due_at: job.deadline.map(|at_ms| began_at + at_ms),
        requirement: Arc::new(requirement(setting, job)),
        provisional: false,
        graph: None,
        shape: Shape { family: workflow::family(family(setting, job)), ..darkroom_shape(job) },
    }
}

fn requirement(setting: &Setting, job: &Job) -> Requirement {
    let used = |kind: ModelKind| {
        move |ix: &ModelIx| ModelUse { id: workflow::model_file(&path(setting.model(*ix))).unwrap(), kind }
    };
    let weights = std::iter::once(&job.ckpt).map(used(ModelKind::Checkpoint));
    let beside = job.cns.iter().map(used(ModelKind::Auxiliary));
    let patches = job.loras.iter().map(used(ModelKind::Lora));
    Requirement {
        parts: Box::new([part(family(setting, job))]),
        models: weights.chain(beside).chain(patches).collect(),
    }
}

fn family<'a>(setting: &'a Setting, job: &Job) -> &'a str {
    &setting.families[job.family.index()]
}

fn path(model: &Model) -> String {
    let folder = match model.role {
        ModelRole::Checkpoint => "checkpoints",
        ModelRole::ControlNet => "controlnet",
        ModelRole::Lora => "loras",
    };
    format!("{folder}/{}.safetensors", model.id)
}

fn small(figure: i64) -> u32 {
    u32::try_from(figure).unwrap()
}
