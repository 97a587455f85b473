#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use serde_json::json;

use super::*;

#[test]
fn errors_of_device_and_host_go_elsewhere_and_those_of_the_graph_do_not() {
    for (kind, message, end) in [
        ("torch.OutOfMemoryError", "Allocation on device", Some(AttemptEnd::OutOfMemory)),
        ("torch.cuda.OutOfMemoryError", "", Some(AttemptEnd::OutOfMemory)),
        ("RuntimeError", "CUDA out of memory. Tried to allocate 2 GiB", Some(AttemptEnd::OutOfMemory)),
        (
            "RuntimeError",
            "CUDA error: an illegal memory access was encountered",
            Some(AttemptEnd::DeviceFault),
        ),
        ("torch.AcceleratorError", "CUDA error: unspecified launch failure", Some(AttemptEnd::DeviceFault)),
        ("OSError", "[Errno 28] No space left on device", Some(AttemptEnd::HostFault)),
        ("requests.exceptions.ConnectionError", "refused", Some(AttemptEnd::HostFault)),
        ("FileNotFoundError", "no such file", None),
        ("ValueError", "OSError is mentioned", None),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied", None),
    ] {
        assert_eq!(fault_of(kind, message), end, "{kind}: {message}");
    }
}

#[test]
fn absolute_paths_become_their_last_part() {
    for (told, expected) in [
        ("File \"/home/ana/ComfyUI/nodes.py\", line 3", "File \"nodes.py\", line 3"),
        ("cannot open /srv/in/a.png: gone", "cannot open a.png: gone"),
        ("(/a/b/c)", "(c)"),
        ("C:\\Users\\ana\\nodes.py failed", "C:nodes.py failed"),
        ("1/2 of 3/4", "1/2 of 3/4"),
        ("image/png and sub/dir/name", "image/png and sub/dir/name"),
        ("a / b", "a / b"),
        ("", ""),
    ] {
        assert_eq!(shown(told, 1000), expected);
    }
}

#[test]
fn texts_are_bounded_on_whole_characters() {
    assert_eq!(shown("ääää", 2), "ää…");
    assert_eq!(shown("ää", 2), "ää");
}

#[test]
fn a_refusal_loses_tracebacks_and_paths_only() {
    let refusal: Refusal = serde_json::from_value(json!({
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
            "details": "", "extra_info": {}},
        "node_errors": {"9": {"class_type": "Save", "dependent_outputs": ["9"], "errors": [
            {"type": "exception_during_validation", "message": "Exception", "details": "'99'",
             "extra_info": {"traceback": ["File \"/opt/x.py\""], "input_name": "images"}}]}},
    }))
    .unwrap();
    let rejection = rejection(refusal);
    let errors: Value = serde_json::from_str(&rejection.node_errors.unwrap()).unwrap();
    let error = &errors["9"]["errors"][0];
    assert_eq!((&error["details"], &error["extra_info"]), (&json!("'99'"), &json!({"input_name": "images"})));
}

#[test]
fn a_missing_class_is_pinned_to_its_node() {
    let refusal: Refusal = serde_json::from_value(json!({
        "error": {"type": "missing_node_type", "message": "Node 'X' not found.", "details": "Node ID '#3'",
            "extra_info": {"node_id": "3", "class_type": "X", "node_title": "X"}},
        "node_errors": {},
    }))
    .unwrap();
    let errors: Value = serde_json::from_str(&rejection(refusal).node_errors.unwrap()).unwrap();
    assert_eq!(
        (&errors["3"]["class_type"], &errors["3"]["errors"][0]["type"]),
        (&json!("X"), &json!("missing_node_type"))
    );
}

#[test]
fn a_node_failure_travels_without_the_servers_paths() {
    let error = ErrorEvent {
        node_id: Some("4".into()),
        node_type: Some("Test".into()),
        exception_message: Some("bad".into()),
        exception_type: Some("ValueError".into()),
        traceback: vec!["  File \"/opt/comfy/execution.py\", line 1\n".into()],
    };
    let Signal::NodeFailed(error) = signal_of(error) else { panic!("not the graph's fault") };
    assert_eq!(error.traceback.as_deref(), Some("  File \"execution.py\", line 1\n"));
}
