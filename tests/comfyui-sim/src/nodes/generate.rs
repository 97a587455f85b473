//! Nodes that make pictures and latents out of nothing or out of files.

use std::sync::Arc;

use super::value::Latent;
use super::{Data, Failure, Inputs, Outcome, plain};
use crate::files::Content;
use crate::render::{Batch, Picture};
use crate::worker::job::Job;

/// `EmptyLatentImage` and its kin; also the only place memory for the batch could be asked for in vain.
pub(crate) fn empty_latent(inputs: &Inputs) -> Outcome {
    plain(vec![Data::Latent(Latent {
        width: inputs.size("width", 512),
        height: inputs.size("height", 512),
        batch: inputs.size("batch_size", 1),
        seed: 0,
        words: Arc::from(""),
    })])
}

/// A plain colour.
pub(crate) fn empty_image(inputs: &Inputs) -> Outcome {
    let picture =
        Picture::solid(inputs.size("width", 512), inputs.size("height", 512), inputs.size("color", 0));
    plain(vec![Data::Images(Batch { picture: Arc::new(picture), count: inputs.size("batch_size", 1) })])
}

/// A file of the input directory, or an annotated one of another.
pub(crate) fn load_image(job: &Job, inputs: &Inputs) -> Outcome {
    let name = inputs.text("image");
    let file = job.process.files().annotated(name);
    let picture = match file.map(|file| file.content) {
        Some(Content::Png(picture, _)) => Some(picture),
        Some(Content::Bytes(bytes)) => Picture::file(bytes).map(Arc::new),
        None => None,
    };
    let Some(picture) = picture else {
        return Err(Failure::raised(
            "PIL.UnidentifiedImageError",
            format!("cannot identify image file '/opt/comfyui/input/{name}'"),
        ));
    };
    plain(vec![Data::Images(Batch { picture, count: 1 }), Data::Opaque])
}
