//! Exact repeats: ComfyUI keeps the outputs of the nodes of its last prompt, so the same graph once more executes
//! nothing there but the saving of its files. Only the last prompt counts: its cache drops what a prompt does not use.

use crate::core::Scheduler;
use crate::costs::Prediction;
use crate::device::Instance;
use crate::ids::GraphId;
use crate::jobs::Job;

/// No graph is known.
pub(crate) const NO_GRAPH: GraphId = GraphId(0);
/// Checking the graph, saving the files again under another name, and the way there and back.
const REPEAT_MS: u32 = 500;
/// What a repeat is believed to take.
pub(crate) const PREDICTION: Prediction =
    Prediction { load_ms: 0, run_ms: REPEAT_MS, only_cold: None, is_repeat: true };

impl Scheduler {
    /// Whether a job's graph is the one that an instance will have run last.
    pub(crate) fn repeats_on(&self, job: &Job, instance: &Instance) -> bool {
        job.graph != NO_GRAPH && instance.keeps_graph && instance.last_graph == job.graph
    }
}
