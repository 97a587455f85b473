//! Loading weights, conditioning, sampling, decoding.

use std::sync::Arc;

use serde_json::json;

use super::value::Latent;
use super::{Data, Failure, Inputs, Outcome, plain};
use crate::render::{Batch, Picture};
use crate::vram;
use crate::worker::job::{Job, PreviewPicture};

/// Sides of a latent preview are at most this; ComfyUI's `--preview-size` is 512.
const PREVIEW_SIDE: u32 = 256;
const PREVIEW_QUALITY: u8 = 80;

/// Every loader: takes the time its file takes to reach the card.
pub(crate) async fn load(job: &Job, class: &str, inputs: &Inputs) -> Outcome {
    let name =
        ["ckpt_name", "unet_name", "lora_name", "vae_name", "clip_name", "clip_name1", "control_net_name"]
            .iter()
            .map(|input| inputs.text(input))
            .find(|name| !name.is_empty())
            .unwrap_or("");
    if class.starts_with("LoraLoader") {
        return plain(vec![inputs.data("model"), inputs.data("clip")]);
    }
    let moved = job.process.vram().load(name, 0);
    match moved {
        Ok(_) => job.pass(job.load_time(vram::model_mib(name))).await,
        Err(vram::OutOfMemory) => return Err(Failure::out_of_memory(false)),
    }
    plain(vec![Data::Model(Arc::from(name)); 3])
}

/// Conditioning carries the words of the prompt and nothing else.
pub(crate) fn condition(inputs: &Inputs) -> Outcome {
    let own = ["text", "text_g", "text_l"].map(|name| inputs.text(name)).join(" ");
    let number = inputs.literal("value");
    plain(vec![Data::Words(format!("{own}{}{number}", inputs.words()).into())])
}

/// Conditioning in, the same out, positive and negative.
pub(crate) fn condition_pair(inputs: &Inputs) -> Outcome {
    plain(vec![inputs.data("positive"), inputs.data("negative")])
}

/// Any sampler: one tick per step, with a preview when wanted.
pub(crate) async fn sample(job: &mut Job, node: &str, inputs: &Inputs) -> Outcome {
    let Some(latent) = inputs.latent().cloned() else {
        return Err(Failure::raised("TypeError", "'NoneType' object is not subscriptable"));
    };
    let seed =
        ["seed", "noise_seed", "noise"].iter().find_map(|name| inputs.literal(name).as_u64()).unwrap_or(0);
    let steps = inputs.integer("steps", inputs.integer("sigmas", 20)).max(1);
    let result = Latent { seed, words: inputs.words(), ..latent };
    make_room(job, inputs, &result)?;
    let step_time = job.step_time();
    for step in 1..=steps {
        job.pass(step_time).await;
        let preview = job.wants_latent_previews().then(|| {
            let picture = Picture::scene(result.width, result.height, seed, &result.words);
            PreviewPicture::jpeg(picture.jpeg(PREVIEW_SIDE, PREVIEW_QUALITY))
        });
        job.tick(node, json!(step), json!(steps), preview).await?;
    }
    plain(vec![Data::Latent(result.clone()), Data::Latent(result)])
}

/// Weights back onto the card beside what this many pixels need.
fn make_room(job: &Job, inputs: &Inputs, latent: &Latent) -> Result<(), Failure> {
    let Data::Model(model) = inputs.data("model") else { return Ok(()) };
    let working =
        vram::working_mib(u64::from(latent.width), u64::from(latent.height), u64::from(latent.batch));
    let fits = job.process.vram().load(&model, working);
    fits.map(|_| ()).map_err(|vram::OutOfMemory| Failure::out_of_memory(false))
}

/// Latent to pictures.
pub(crate) fn decode(inputs: &Inputs) -> Outcome {
    let Some(latent) = inputs.latent() else { return plain(vec![Data::Opaque]) };
    plain(vec![Data::Images(Batch {
        picture: Arc::new(Picture::scene(latent.width, latent.height, latent.seed, &latent.words)),
        count: latent.batch,
    })])
}

/// Pictures to latent: only the size survives.
pub(crate) fn encode(inputs: &Inputs) -> Outcome {
    let Some(batch) = inputs.0.get("pixels").and_then(|data| match data {
        Data::Images(batch) => Some(batch),
        _ => None,
    }) else {
        return plain(vec![Data::Opaque]);
    };
    plain(vec![Data::Latent(Latent {
        width: batch.picture.width,
        height: batch.picture.height,
        batch: batch.count,
        seed: 0,
        words: Arc::from(""),
    })])
}
