//! The texts and headers of frames (PROTOCOL §3). `type` comes first: some clients tell text from pictures by it
//! (CLIENTS §4.2).

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Serialize)]
struct Frame<'a> {
    r#type: &'a str,
    data: &'a Value,
}

/// A text frame.
pub(super) fn text(name: &str, data: &Value) -> Utf8Bytes {
    // A value made of maps and strings has a JSON text.
    serde_json::to_string(&Frame { r#type: name, data }).unwrap_or_default().into()
}

/// How many jobs are left; `sid` in the greeting only.
pub(super) fn status(remaining: usize, sid: Option<&str>) -> Utf8Bytes {
    let mut data = json!({"status": {"exec_info": {"queue_remaining": remaining}}});
    if let Some(sid) = sid {
        data["sid"] = json!(sid);
    }
    text("status", &data)
}

/// What runs when a socket comes (late): without the id of its job, as in ComfyUI.
pub(super) fn running(node: &str) -> Utf8Bytes {
    text("executing", &json!({"node": node}))
}

/// A job has left.
pub(super) fn left(prompt_id: &str) -> Utf8Bytes {
    text("executing", &json!({"node": null, "prompt_id": prompt_id}))
}

/// What this face can do (`/features`).
pub(super) fn features(max_upload_bytes: u64) -> Value {
    json!({
        "supports_preview_metadata": true,
        "supports_model_type_tags": true,
        "max_upload_size": max_upload_bytes,
        "extension": {"manager": {"supports_v4": true}},
        "node_replacements": true,
        "assets": false,
    })
}

/// A picture that a node shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) prompt_id: &'a str,
    pub(super) node: &'a str,
    pub(super) content_type: &'a str,
    pub(super) bytes: &'a [u8],
}

/// A picture for a socket that announced metadata (type 4), or for one that did not (type 1).
pub(super) fn picture(shown: &Shown<'_>, with_metadata: bool) -> Message {
    let mut frame = Vec::with_capacity(shown.bytes.len() + 256);
    let mut word = |number: u32| frame.extend_from_slice(&number.to_be_bytes());
    if with_metadata {
        let about = json!({
            "node_id": shown.node,
            "prompt_id": shown.prompt_id,
            "display_node_id": shown.node,
            "parent_node_id": null,
            "real_node_id": shown.node,
            "image_type": shown.content_type,
        });
        let about = about.to_string();
        word(4);
        word(u32::try_from(about.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(about.as_bytes());
    } else {
        word(1);
        word(if shown.content_type == "image/png" { 2 } else { 1 });
    }
    frame.extend_from_slice(shown.bytes);
    Message::Binary(Bytes::from(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_frame_comes_first() {
        for frame in [status(3, Some("me")), running("4"), left("id")] {
            assert!(frame.as_str().starts_with(r#"{"type":"#), "{frame}");
        }
        assert_eq!(
            status(0, None).as_str(),
            r#"{"type":"status","data":{"status":{"exec_info":{"queue_remaining":0}}}}"#
        );
    }

    #[test]
    fn a_picture_tells_its_owner_only_to_those_who_asked() {
        let shown = Shown { prompt_id: "p", node: "2", content_type: "image/png", bytes: b"png" };
        let plain = picture(&shown, false).into_data();
        assert_eq!(&plain[..], b"\0\0\0\x01\0\0\0\x02png");
        let told = picture(&shown, true).into_data();
        assert_eq!(&told[..4], b"\0\0\0\x04");
        assert!(told.ends_with(b"\"image_type\":\"image/png\"}png"));
    }
}
