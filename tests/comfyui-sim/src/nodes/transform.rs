//! Nodes that change pictures.

use std::sync::Arc;

use serde_json::json;

use super::{Data, Inputs, Outcome, plain};
use crate::frames;
use crate::render::{Batch, Picture};
use crate::worker::job::Job;

/// Scaling, inverting and whatever else leaves pictures pictures.
pub(crate) fn transform(class: &str, inputs: &Inputs) -> Outcome {
    if let Some(latent) = inputs.latent() {
        let mut latent = latent.clone();
        (latent.width, latent.height) = new_size(class, inputs, latent.width, latent.height);
        return plain(vec![Data::Latent(latent)]);
    }
    let Some(batch) = inputs.images() else { return plain(vec![Data::Opaque]) };
    let picture: &Picture = &batch.picture;
    let changed = if class == "ImageInvert" {
        picture.inverted()
    } else {
        let (width, height) = new_size(class, inputs, picture.width, picture.height);
        picture.scaled(width, height)
    };
    plain(vec![Data::Images(Batch { picture: Arc::new(changed), count: batch.count })])
}

/// The size asked for; 0 keeps the proportions.
fn new_size(class: &str, inputs: &Inputs, width: u32, height: u32) -> (u32, u32) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "factors are validated positive"
    )]
    let times = |side: u32, factor: f64| (f64::from(side) * factor).round().max(1.0) as u32;
    match class {
        "ImageScale" | "LatentUpscale" => {
            match (inputs.size("width", width), inputs.size("height", height)) {
                (0, 0) => (width, height),
                (0, to) => (times(width, f64::from(to) / f64::from(height.max(1))), to),
                (to, 0) => (to, times(height, f64::from(to) / f64::from(width.max(1)))),
                size => size,
            }
        }
        "ImageScaleBy" | "LatentUpscaleBy" => {
            let factor = inputs.number("scale_by", 1.0);
            (times(width, factor), times(height, factor))
        }
        "ImageUpscaleWithModel" => (width * 4, height * 4),
        _ => (width, height),
    }
}

/// Width, height and count; tells everyone as a type 3 text frame (PROTOCOL §3).
pub(crate) fn image_size(job: &Job, node: &str, inputs: &Inputs) -> Outcome {
    let Some(batch) = inputs.images() else { return plain(vec![Data::Opaque; 3]) };
    let (width, height, count) = (batch.picture.width, batch.picture.height, batch.count);
    let text = format!("width: {width}, height: {height}\n batch size: {count}");
    job.process.sockets.broadcast(frames::text(node, &text));
    plain([width, height, count].map(|number| Data::Literal(json!(number))).to_vec())
}
