//! The frames of `/ws`, text and binary (PROTOCOL §3).

use axum::extract::ws::Message;
use serde_json::{Value, json};

use crate::wire;

/// A text frame `{"type","data"}`.
pub(crate) fn event(kind: &str, data: &Value) -> Message {
    Message::text(wire::text(&json!({"type": kind, "data": data})))
}

/// The data of a `status` frame; `sid` only in the greeting.
pub(crate) fn status(queue_remaining: usize, sid: Option<&str>) -> Value {
    let mut data = json!({"status": {"exec_info": {"queue_remaining": queue_remaining}}});
    if let Some(sid) = sid {
        data["sid"] = json!(sid);
    }
    data
}

/// What the server answers to a client's `feature_flags`, and `GET /features`.
pub(crate) fn features() -> Value {
    json!({
        "supports_preview_metadata": true,
        "supports_model_type_tags": true,
        "max_upload_size": crate::http::MAX_UPLOAD_BYTES,
        "extension": {"manager": {"supports_v4": true}},
        "node_replacements": true,
        "assets": false,
    })
}

/// How a preview picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    Jpeg,
    Png,
}

/// Binary type 1: a preview that names neither prompt nor node.
pub(crate) fn preview(format: PictureFormat, picture: &[u8]) -> Message {
    let code: u32 = match format {
        PictureFormat::Jpeg => 1,
        PictureFormat::Png => 2,
    };
    let mut frame = Vec::with_capacity(8 + picture.len());
    frame.extend(1u32.to_be_bytes());
    frame.extend(code.to_be_bytes());
    frame.extend(picture);
    Message::binary(frame)
}

/// Binary type 4: a preview with its prompt and node.
pub(crate) fn preview_with_metadata(
    prompt_id: &str,
    node: &str,
    format: PictureFormat,
    picture: &[u8],
) -> Message {
    let image_type = match format {
        PictureFormat::Jpeg => "image/jpeg",
        PictureFormat::Png => "image/png",
    };
    let metadata = json!({
        "node_id": node,
        "prompt_id": prompt_id,
        "display_node_id": node,
        "parent_node_id": null,
        "real_node_id": node,
        "image_type": image_type,
    })
    .to_string();
    let mut frame = Vec::with_capacity(8 + metadata.len() + picture.len());
    frame.extend(4u32.to_be_bytes());
    frame.extend(u32::try_from(metadata.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(metadata.as_bytes());
    frame.extend(picture);
    Message::binary(frame)
}

/// Binary type 3: progress text of a node.
pub(crate) fn text(node: &str, text: &str) -> Message {
    let mut frame = Vec::with_capacity(8 + node.len() + text.len());
    frame.extend(3u32.to_be_bytes());
    frame.extend(u32::try_from(node.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(node.as_bytes());
    frame.extend(text.as_bytes());
    Message::binary(frame)
}
