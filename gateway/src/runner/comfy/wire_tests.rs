#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use super::*;

fn frame(text: &str) -> TextFrame {
    text_frame(text.as_bytes()).unwrap()
}

#[test]
fn the_last_frame_of_a_prompt_has_no_node() {
    let left = frame(r#"{"type":"executing","data":{"node":null,"prompt_id":"p"}}"#);
    assert_eq!(left, TextFrame { prompt: Some("p".into()), event: FrameEvent::Executing(None) });
}

#[test]
fn the_greeting_of_a_reconnect_belongs_to_nobody() {
    let greeting = frame(r#"{"type":"executing","data":{"node":"7"}}"#);
    assert_eq!(greeting.prompt, None);
}

#[test]
fn an_expanded_node_counts_for_the_one_that_shows_it() {
    let state = frame(
        r#"{"type":"progress_state","data":{"prompt_id":"p","nodes":{
            "4.0.0.3":{"value":1,"max":2,"state":"running","node_id":"4.0.0.3","display_node_id":"4"},
            "5":{"value":0,"max":0,"state":"finished","display_node_id":"5"}}}}"#,
    );
    let FrameEvent::Nodes(nodes) = state.event else { panic!("not a progress_state") };
    assert_eq!(nodes[0], NodeState { node: "4".into(), share: 0.5, finished: false, itself: false });
    assert_eq!(nodes[1], NodeState { node: "5".into(), share: 0.0, finished: true, itself: true });
}

#[test]
fn bare_nan_counts_as_null_and_quoted_nan_stays() {
    let value: serde_json::Value =
        lenient(br#"{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN \"NaN\" Infinity"}"#).unwrap();
    assert_eq!(value, serde_json::json!({"a": null, "b": [null, null], "c": "NaN \"NaN\" Infinity"}));
    let step = frame(r#"{"type":"progress","data":{"value":NaN,"max":1,"prompt_id":"p","node":"1"}}"#);
    assert_eq!(step.event, FrameEvent::Step { node: Some("1".into()), value: 0.0, max: 1.0 });
}

#[test]
fn frames_that_do_not_concern_us_or_are_broken_are_nothing() {
    for text in ["", "{", "[]", "null", r#"{"type":"logs","data":{}}"#, r#"{"type":"executing"}"#, "\u{0}"] {
        assert_eq!(text_frame(text.as_bytes()), None, "{text}");
    }
}

fn binary(kind: u32, rest: &[u8]) -> Bytes {
    [&kind.to_be_bytes()[..], rest].concat().into()
}

#[test]
fn a_picture_with_metadata_names_its_prompt_and_node() {
    let meta = br#"{"node_id":"4.1","prompt_id":"p","display_node_id":"4","image_type":"image/png"}"#;
    let length = u32::try_from(meta.len()).unwrap().to_be_bytes();
    let picture = picture(&binary(4, &[&length[..], meta, b"PNG"].concat())).unwrap();
    let owner = picture.owner.unwrap();
    assert_eq!((owner.prompt_id.as_str(), owner.node()), ("p", "4"));
    assert_eq!((picture.content_type.as_str(), &picture.bytes[..]), ("image/png", &b"PNG"[..]));
}

#[test]
fn a_picture_without_metadata_has_no_owner() {
    let picture = picture(&binary(1, b"\0\0\0\x01JPEG")).unwrap();
    assert_eq!((picture.owner, picture.content_type.as_str()), (None, "image/jpeg"));
}

#[test]
fn text_unknown_and_cut_off_frames_are_no_pictures() {
    assert_eq!(picture(&binary(3, b"\0\0\0\x011hello")), None);
    assert_eq!(picture(&binary(9, b"")), None);
    assert_eq!(picture(&binary(4, b"\xff\xff\xff\xff{}")), None);
    assert_eq!(picture(&binary(4, b"\0\0\0\x09{}")), None);
    assert_eq!(picture(&Bytes::from_static(b"\0\0")), None);
}

#[test]
fn a_queue_tells_ids_and_marks_whatever_others_put_there() {
    let mark = Mark { cell: Uuid::from_u128(1), job: Uuid::from_u128(2), attempt: 3 };
    let ours = serde_json::json!([0, "a", {"1": {}}, {"darkroom": mark, "client_id": "c"}, ["1"], {}]);
    let text = serde_json::json!({
        "queue_running": [ours],
        "queue_pending": [[1.5, "b", {}, {"darkroom": "not a mark"}, []], [2, "c", {}, {}]],
    });
    let queue: Queue = lenient(text.to_string().as_bytes()).unwrap();
    assert_eq!((queue.queue_running[0].id.as_str(), queue.queue_running[0].mark), ("a", Some(mark)));
    assert_eq!((queue.queue_pending[0].id.as_str(), queue.queue_pending[0].mark), ("b", None));
    assert_eq!((queue.queue_pending[1].id.as_str(), queue.queue_pending[1].mark), ("c", None));
}
