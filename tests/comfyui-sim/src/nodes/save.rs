//! Nodes that save or show what was made; names and keys as recorded (PROTOCOL §4 "Output entries", §7).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Data, Failure, Inputs, Outcome, plain, with_ui};
use crate::files::{Content, Kind, entry, join};
use crate::placeholder;
use crate::render::{Batch, Picture};
use crate::worker::job::{Job, PreviewPicture};

/// Where a prefix leads: subfolder and the start of the file name.
struct Prefix {
    subfolder: String,
    start: String,
}

impl Prefix {
    /// Resolves `sub/dir/name`; leaving the output folder raises.
    fn resolve(prefix: &str, picture: Option<&Picture>) -> Result<Prefix, Failure> {
        let mut prefix = prefix.to_owned();
        if let Some(picture) = picture {
            prefix = prefix
                .replace("%width%", &picture.width.to_string())
                .replace("%height%", &picture.height.to_string());
        }
        if prefix.starts_with('/') || prefix.split('/').any(|part| part == "..") {
            return Err(Failure::raised(
                "Exception",
                "**** ERROR: Saving image outside the output folder is not allowed.\n full_output_folder: \
                 /opt/comfyui\n         output_dir: /opt/comfyui/output\n",
            ));
        }
        let (subfolder, start) = prefix.rsplit_once('/').unwrap_or(("", &prefix));
        Ok(Prefix { subfolder: subfolder.to_owned(), start: start.to_owned() })
    }

    /// Takes numbers for this many files.
    fn reserve(&self, job: &Job, kind: Kind, count: u32) -> u32 {
        job.process.files().reserve(kind, &join(&self.subfolder, &self.start), count)
    }

    /// Writes one file and tells its output entry.
    fn write(&self, job: &Job, kind: Kind, name: &str, content: Content) -> Value {
        job.process.files().put(kind, &join(&self.subfolder, name), content);
        entry(kind, &self.subfolder, name)
    }
}

/// `SaveImage` and `PreviewImage`.
pub(crate) fn images(job: &mut Job, class: &str, inputs: &Inputs) -> Outcome {
    let Some(batch) = inputs.images() else { return with_ui(Vec::new(), json!({"images": []})) };
    let (kind, prefix) = if class == "PreviewImage" {
        (Kind::Temp, format!("ComfyUI_temp_{}", job.letters(5)))
    } else {
        (Kind::Output, inputs.text("filename_prefix").to_owned())
    };
    let prefix = Prefix::resolve(&prefix, Some(&batch.picture))?;
    if job.item.extra_data["extra_pnginfo"].is_array() {
        return Err(Failure::raised("TypeError", "list indices must be integers or slices, not dict\n"));
    }
    let first = prefix.reserve(job, kind, batch.count);
    let texts = job.png_texts();
    let entries: Vec<Value> = (0..batch.count)
        .map(|index| {
            let start = prefix.start.replace("%batch_num%", &index.to_string());
            let name = format!("{start}_{:05}_.png", first + index);
            let picture = Arc::new(batch.picture.nth(index as usize));
            prefix.write(job, kind, &name, Content::Png(picture, Arc::clone(&texts)))
        })
        .collect();
    with_ui(vec![Data::Images(batch.clone())], json!({"images": entries}))
}

/// `SaveImageWebsocket`: full PNGs as previews, nothing in history.
pub(crate) async fn websocket(job: &mut Job, node: &str, inputs: &Inputs) -> Outcome {
    let Some(Batch { picture, count }) = inputs.images() else { return plain(Vec::new()) };
    for index in 0..*count {
        let picture = picture.nth(index as usize);
        let pad_bytes = job.process.faults.state().pad_bytes;
        let drawn = tokio::task::spawn_blocking(move || picture.png(&[], pad_bytes)).await;
        let preview = PreviewPicture::png(drawn.unwrap_or_default());
        job.tick(node, json!(index), json!(count), Some(preview)).await?;
    }
    // an output node without UI output still counts as one
    plain(Vec::new())
}

/// The savers of other media.
pub(crate) fn other(job: &mut Job, class: &str, inputs: &Inputs) -> Outcome {
    let prefix = Prefix::resolve(inputs.text("filename_prefix"), None)?;
    let number = prefix.reserve(job, Kind::Output, 1);
    let format = inputs.text("format");
    let (suffix, bytes): (String, Bytes) = match class {
        "SaveAnimatedWEBP" => {
            ("_.webp".to_owned(), inputs.images().map(|batch| batch.picture.webp()).unwrap_or_default())
        }
        "SaveAnimatedPNG" => {
            ("_.png".to_owned(), inputs.images().map(|batch| batch.picture.png(&[], 0)).unwrap_or_default())
        }
        "SaveVideo" => ("_.mp4".to_owned(), placeholder::mp4().into()),
        "SaveAudio" => (".flac".to_owned(), placeholder::flac().into()),
        "SaveText" => (
            format!(".{}", if format.is_empty() { "txt" } else { format }),
            Bytes::from(inputs.text("text").to_owned()),
        ),
        _ => ("_.latent".to_owned(), Bytes::from_static(b"latent")),
    };
    let name = format!("{}_{number:05}{suffix}", prefix.start);
    let file = prefix.write(job, Kind::Output, &name, Content::Bytes(bytes));
    let ui = match class {
        "SaveAnimatedWEBP" | "SaveAnimatedPNG" | "SaveVideo" => json!({"images": [file], "animated": [true]}),
        "SaveAudio" => json!({"audio": [file]}),
        "SaveText" => json!({"text": [inputs.text("text")], "files": [file]}),
        _ => json!({"latents": [file]}),
    };
    with_ui(vec![Data::Opaque], ui)
}
