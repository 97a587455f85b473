#![allow(clippy::unwrap_used, reason = "tests may")]
use serde_json::json;
use uuid::Uuid;

use super::*;

const PROMPT: &str = "11111111-1111-4111-8111-111111111111";

fn native() -> Native {
    Native { prompt_id: "mine".into(), frames: true, preview_method: None, targets: None }
}

fn original() -> Original {
    Original { folder: "job/1".into(), replaced: Vec::new() }
}

fn voice<'a>(native: &'a Native, original: &'a Original) -> Voice<'a> {
    Voice { attempt: Attempt { job: Uuid::from_u128(7), number: 1 }, prompt: PROMPT, native, original }
}

#[test]
fn a_frame_has_its_type_first_and_the_callers_id_throughout() {
    let text = format!(
        r#"{{"data": {{"prompt_id": "{PROMPT}", "nodes": {{"2": {{"prompt_id": "{PROMPT}", "value": NaN}}}}}}, "type": "progress_state"}}"#
    );
    let (native, original) = (native(), original());
    let frame = voice(&native, &original).frame(&FrameEvent::Nodes(Vec::new()), text.as_bytes()).unwrap();
    assert!(frame.text.starts_with(r#"{"type":"progress_state","data":"#), "{}", frame.text);
    let value: Value = serde_json::from_str(&frame.text).unwrap();
    assert_eq!(value["data"]["nodes"]["2"]["prompt_id"], "mine");
    assert!(!frame.text.contains(PROMPT));
}

#[test]
fn what_waits_for_the_commit_is_no_frame() {
    let (native, original) = (native(), original());
    let voice = voice(&native, &original);
    for event in [FrameEvent::Success, FrameEvent::Executing(None), FrameEvent::Executed("3".into())] {
        assert_eq!(voice.frame(&event, br#"{"type":"x","data":{}}"#), None);
    }
}

#[test]
fn a_record_names_files_as_the_caller_would_and_says_which_output_each_became() {
    let entry: HistoryEntry = serde_json::from_value(json!({
        "prompt": [1, PROMPT, {}, {}, ["2"]],
        "outputs": {"2": {"images": [
            {"filename": "pic_00001_.png", "subfolder": "job/1/sub", "type": "output"},
            {"filename": "in.png", "subfolder": "", "type": "input"},
        ], "animated": [false]}},
        "status": {"status_str": "error", "messages": [["execution_error", {
            "prompt_id": PROMPT, "traceback": ["  File \"/opt/comfyui/execution.py\", line 1"],
            "current_inputs": {"filename_prefix": ["job/1/sub/pic"]},
        }]]},
    }))
    .unwrap();
    let (native, original) = (native(), original());
    let found = list::files(&entry, &[], &crate::runner::sketch::Sketch::default(), &original);
    let record = voice(&native, &original).record(&entry, &found).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let file = &record["outputs"]["2"]["images"][0];
    assert_eq!((&file["filename"], &file["subfolder"]), (&json!("pic_00001_.png"), &json!("sub")));
    assert_eq!(file["@output"], json!(voice(&native, &original).attempt.output_id(0)));
    assert_eq!(record["outputs"]["2"]["images"][1]["filename"], "in.png");
    let error = &record["messages"][0][1];
    assert_eq!(error["prompt_id"], "mine");
    assert_eq!(error["current_inputs"]["filename_prefix"][0], "sub/pic");
    assert!(!error["traceback"][0].as_str().unwrap().contains("/opt"));
}
