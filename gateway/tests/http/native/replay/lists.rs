//! Which recordings are replayed, which are not, and where the gateway is meant to differ.

/// Recorded one after the other on one server.
pub const RUNS: &[&str] = &[
    "run_empty_save",
    "run_empty_save_cached",
    "run_load_scale_invert_save",
    "run_multi_output",
    "run_preview_temp",
    "run_batch4",
    "run_error_node",
    "run_error_two_branches",
    "run_lazy_mix",
    "run_animated_webp",
    "run_video",
    "run_audio",
    "run_preview_any_text",
    "run_blocker",
    "run_parallel_sleep_expand",
    "run_sleep_progress",
    "run_websocket_image",
    "run_websocket_image_metadata",
    "run_extra_data",
    "run_no_client_id",
    "validation_errors",
    "http_api",
    "upload",
    "view",
];

/// Likewise, on a server with previews switched on.
pub const SAMPLING: &[&str] =
    &["ksampler_preview_metadata", "ksampler_preview_legacy", "ksampler_preview_override", "model_residency"];

/// Each on a server of its own.
pub const ALONE: &[&str] = &[
    "blocker_verbose_error_not_terminal",
    "cached_file_deleted",
    "cross_tenant_cache",
    "duplicate_client_id_old_closes",
    "duplicate_prompt_id",
    "half_open_reconnect",
    "history_paging",
    "interrupt",
    "late_connect",
    "logs_subscribe",
    "many_prompts_one_socket",
    "poison_client_id_dict",
    "poison_client_id_empty",
    "poison_client_id_list",
    "poison_client_id_number",
    "poison_extra_pnginfo_list",
    "poison_extra_pnginfo_unserial_big",
    "poison_extra_pnginfo_workflow_null",
    "poison_number_nan",
    "poison_preview_method_bad",
    "poison_preview_method_obj",
    "progress_text_broadcast",
    "queue_ops",
    "queue_tie",
    "reconnect_after_finish",
    "reconnect_same_client_id",
    "two_clients",
    "ui_nan",
    "upload_raw_filenames",
    "variant_cache_classic",
    "variant_cache_default",
    "variant_metadata_cors_gzip",
    "variant_multi_user",
    "ws_no_client_id",
];

/// Graphs with several outputs, or with nodes that run at once: which of them runs first differs between starts.
pub const ANY_ORDER: &[&str] = &["run_multi_output", "run_parallel_sleep_expand"];

/// Recordings that are not replayed, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("author_file_access", "needs the data set nodes, which the simulator does not execute"),
    (
        "boundary_is_changed_error",
        "a file vanishes between validation and start; the simulator checks it once",
    ),
    ("deep_chain", "holds measurements only, nothing to replay"),
    ("deep_chain_recursion", "holds a summary only, nothing to replay"),
    (
        "ksampler_interrupt",
        "recorded within a step of more than a second, on a server that was warm; `interrupt` is replayed",
    ),
    ("kill9_and_restart", "the server is killed: e2e's `instance_faults` shows that jobs outlive it"),
    ("race_history", "holds measurements only, nothing to replay"),
    ("runtime_dynamic_cycle", "the expansion is not simulated"),
    ("sigint", "the server is stopped, as in `kill9_and_restart`"),
    ("sigterm", "the server is stopped, as in `kill9_and_restart`"),
    ("slow_consumer", "`sockets::a_socket_that_does_not_read_is_closed_and_holds_up_nobody` has the case"),
    ("ui_unserialisable", "the server dies of it, as in `kill9_and_restart`"),
    ("variant_cache_lru_100", "a cache mode that is not simulated"),
    ("variant_cache_none", "a cache mode that is not simulated"),
    ("variant_enable_assets", "a database of the server's own files, which is not simulated"),
    (
        "ws_limits",
        "the messages were not kept; `sockets::a_message_that_is_too_long_ends_its_socket_and_no_other` has the case",
    ),
];

const SAVED_AGAIN: &str = "each attempt has a folder of its own, so a saver is never answered from the cache";
const FAILED_OUTPUTS: &str = "outputs of a job that failed are not kept";
const WORDS: &str = "the type of the error is the same, the words are ours";
const CRASHES: &str = "what makes that server stumble is answered as a mistake of the caller, or taken";
const DEAD: &str = "that server was dead by then";
const DEAF: &str = "that server forgot the later socket when the earlier one was closed";
const OUTSIDE: &str = "paths that lead out of a folder are refused in every form";
const NOBODY: &str = "a job without a client is told to none";
const ASKED: &str = "previews without metadata go to jobs that asked for them";
const WARM: &str = "recorded with more in the cache than the recordings before it put there";
const TWICE: &str = "an id cannot be used twice at once";
const MACHINE: &str = "files and models of the machine are not shown";
const ORIGINS: &str = "without keys only loopback names are answered, whatever the page's origin";
const USERS: &str = "users are tenants, and come by their keys";
const LOGS: &str = "logs belong to the fleet";
const TAKEN_OUT: &str = "a client is told that its job was taken out of the queue";
const INTERRUPTED: &str = "nodes that were done are not listed when a job is interrupted";

/// Where a difference is meant: the recording, a part of what differs, and why.
pub const MEANT: &[(&str, &str, &str)] = &[
    ("run_empty_save_cached", r#": cached "1","2""#, SAVED_AGAIN),
    ("run_empty_save_cached", "is told", SAVED_AGAIN),
    ("run_error_two_branches", "{\"images\"", FAILED_OUTPUTS),
    ("run_error_two_branches", "\"failed\" 1 1", FAILED_OUTPUTS),
    ("run_no_client_id", "is not told", NOBODY),
    ("validation_errors", "invalid_input_type", WORDS),
    ("validation_errors", "value_not_in_list", WORDS),
    ("validation_errors", "tuple index out of range", WORDS),
    ("validation_errors", "Exception when validating node: '99'", WORDS),
    ("validation_errors", "has no class_type", WORDS),
    ("validation_errors", "invalid_prompt_id", WORDS),
    ("validation_errors", "Invalid type of input1", "what a class checks by itself is known when it runs"),
    ("validation_errors", "limit_exceeded", "bounds on sizes come first"),
    ("validation_errors", "saving outside the output folder", "it is refused before it runs"),
    ("validation_errors", "recorded POST /prompt 500", CRASHES),
    ("http_api", "/history?max_items=abc", CRASHES),
    ("http_api", "/api/jobs?status=bogus 400", WORDS),
    ("http_api", "/api/jobs?limit=0 400", WORDS),
    ("http_api", "/internal/folder_paths", MACHINE),
    ("http_api", "/internal/files/", MACHINE),
    ("http_api", "/api/assets", "that part of ComfyUI is switched off there, and absent here"),
    ("http_api", "/api/tags", "that part of ComfyUI is switched off there, and absent here"),
    ("upload", "recorded POST /upload/image 500", CRASHES),
    ("upload", "recorded POST /upload/mask 500", CRASHES),
    ("upload", "the file name leads nowhere", OUTSIDE),
    ("upload", "the folder leads outside", OUTSIDE),
    ("view", "subfolder=../input", OUTSIDE),
    ("view", "filename=bad.png", CRASHES),
    ("view", "GET /queue", ORIGINS),
    ("view", "OPTIONS /prompt", "an empty answer says that it is empty"),
    ("ksampler_preview_legacy", "is not told of job 0: preview format 1", ASKED),
    ("ksampler_preview_override", "of job 0: cached", WARM),
    ("ksampler_preview_override", "of job 0: state", WARM),
    ("ksampler_preview_override", "of job 0: executing \"4\"", WARM),
    ("model_residency", "preview format 1", ASKED),
    ("model_residency", "of job 2: cached", SAVED_AGAIN),
    ("model_residency", "is told of job 2", SAVED_AGAIN),
    ("model_residency", "of job 7: cached", "models belong to the fleet: nobody unloads them by `/free`"),
    ("model_residency", "of job 7: state", "likewise"),
    ("model_residency", "is not told of job 7: executing", "likewise"),
    ("cached_file_deleted", "GET /view", "every job has a file of its own, in the gateway's care"),
    ("cached_file_deleted", "of job 1: cached", SAVED_AGAIN),
    ("cached_file_deleted", "is told of job 1", SAVED_AGAIN),
    ("duplicate_client_id_old_closes", "is told of job 1", DEAF),
    ("duplicate_prompt_id", "POST /prompt 400 \"invalid_prompt_id\"", TWICE),
    ("duplicate_prompt_id", "running Some(1) pending Some(1)", TWICE),
    ("duplicate_prompt_id", "in another order of job 0", TWICE),
    ("half_open_reconnect", "is told of job 0", DEAF),
    (
        "interrupt",
        "is not told of job 0: execution_interrupted at \"2\" \"TestSleep\" null after \"1\"",
        INTERRUPTED,
    ),
    (
        "interrupt",
        "is not told of job 1: execution_interrupted at \"2\" \"TestSleep\" null after \"1\"",
        INTERRUPTED,
    ),
    (
        "interrupt",
        "is not told of job 2: execution_interrupted at \"2\" \"TestSleep\" null after \"1\"",
        INTERRUPTED,
    ),
    ("interrupt", "is told of job 0: execution_interrupted at \"2\" \"TestSleep\" null after ", INTERRUPTED),
    ("interrupt", "is told of job 1: execution_interrupted at \"2\" \"TestSleep\" null after ", INTERRUPTED),
    ("interrupt", "is told of job 2: execution_interrupted at \"2\" \"TestSleep\" null after ", INTERRUPTED),
    ("interrupt", "ws:A is not told of job 3", NOBODY),
    ("interrupt", "ws:B is not told of job 2", NOBODY),
    ("logs_subscribe", "is not told: status 2 sid", "recorded behind two jobs that never ran"),
    ("logs_subscribe", "is told: status 0 sid", "recorded behind two jobs that never ran"),
    ("logs_subscribe", "is told of job 0", "recorded behind two jobs that never ran"),
    ("logs_subscribe", "is not told: logs", LOGS),
    ("poison_client_id_dict", "is told of job 0", DEAD),
    ("poison_client_id_list", "is told of job 0", DEAD),
    ("poison_extra_pnginfo_list", "GET /api/jobs 500", CRASHES),
    ("poison_extra_pnginfo_list", "is not told of job 0", NOBODY),
    ("poison_extra_pnginfo_unserial_big", "is not told of job 0", NOBODY),
    ("poison_extra_pnginfo_workflow_null", "GET /api/jobs 500", CRASHES),
    ("poison_extra_pnginfo_workflow_null", "is not told of job 0", NOBODY),
    ("poison_number_nan", "POST /prompt 400", CRASHES),
    ("poison_number_nan", "is not told of job 0", NOBODY),
    ("poison_preview_method_bad", "is not told of job 0", NOBODY),
    ("poison_preview_method_obj", "is not told of job 0", NOBODY),
    ("progress_text_broadcast", "text of", "such a text names no job, so it is not passed on"),
    ("queue_ops", "empty body", CRASHES),
    ("queue_ops", "execution_interrupted at \"\" \"\"", TAKEN_OUT),
    ("queue_ops", "executing null", TAKEN_OUT),
    ("queue_tie", "POST /prompt 400", TWICE),
    ("queue_tie", "GET /queue", "that server's worker was dead by then"),
    ("queue_tie", "GET /history", "that server's worker was dead by then"),
    ("queue_tie", "is told of job 1", "that server's worker was dead by then"),
    ("ui_nan", "\"output\":{\"value\":[NaN,Infinity]}", "numbers that JSON has not are null"),
    ("ui_nan", "executed \"2\" {\"value\":[null,null]}", "numbers that JSON has not are null"),
    ("upload_raw_filenames", "POST /upload/image 400", OUTSIDE),
    ("variant_cache_classic", "of job 1: cached", SAVED_AGAIN),
    ("variant_cache_classic", "is told of job 1", SAVED_AGAIN),
    ("variant_cache_default", "of job 1: cached", SAVED_AGAIN),
    ("variant_cache_default", "is told of job 1", SAVED_AGAIN),
    ("variant_metadata_cors_gzip", "GET /queue 403", ORIGINS),
    ("variant_metadata_cors_gzip", "OPTIONS /prompt 403", ORIGINS),
    ("variant_multi_user", " /users ", USERS),
    ("variant_multi_user", "GET /settings", USERS),
    ("variant_multi_user", "/v2/userdata", "times are kept in milliseconds"),
];
