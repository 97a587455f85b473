//! Carrying out a prompt: cache, order of nodes, endings.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::job::Job;
use crate::graph::{self, Graph};
use crate::nodes::{self, Computed, Data, Failure, Inputs};
use crate::schedule::Schedule;

/// How often a prompt that never ends looks whether it was interrupted.
const INTERRUPT_POLL: Duration = Duration::from_millis(10);

/// Nodes worth running out of memory at.
const HEAVY: [&str; 3] = ["KSampler", "KSamplerAdvanced", "SamplerCustomAdvanced"];

/// How a prompt left the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
    Interrupted,
    /// Failed, but history says otherwise.
    Lied,
}

/// A failure and the node it happened at.
struct Failed {
    node: String,
    failure: Failure,
}

impl Job {
    /// Runs the prompt and tells its story up to the final event.
    pub(crate) async fn run(&mut self) -> Ending {
        if self.item.extra_data["client_id"].is_array() || self.item.extra_data["client_id"].is_object() {
            self.process.die(None);
            std::future::pending::<()>().await;
        }
        self.process.interrupted.store(false, Ordering::SeqCst);
        let prompt_id = self.item.prompt_id.clone();
        self.message("execution_start", json!({"prompt_id": prompt_id}));
        let graph = Arc::clone(&self.item.graph);
        let empty = Map::new();
        let graph = Graph(graph.as_object().unwrap_or(&empty));
        let signatures = self.take_cached(graph);
        let cached: Vec<&String> = graph.0.keys().filter(|node| self.results.contains_key(*node)).collect();
        self.message("execution_cached", json!({"nodes": cached, "prompt_id": prompt_id}));
        let doom = self.doom();
        let lies = doom.is_none() && self.process.faults.take(|state| &mut state.lying_successes);
        let doom =
            doom.or_else(|| lies.then(|| Failure::raised("RuntimeError", "Dependency cycle detected\n")));
        let result = self.run_nodes(graph, &signatures, doom).await;
        match result {
            Ok(()) => {
                self.message("execution_success", json!({"prompt_id": prompt_id}));
                Ending::Succeeded
            }
            Err(Failed { node, failure: Failure::Interrupted }) => {
                let class = graph.class(&node);
                let data = json!({
                    "prompt_id": prompt_id, "node_id": node, "node_type": class, "executed": self.executed,
                });
                self.message("execution_interrupted", data);
                Ending::Interrupted
            }
            Err(Failed { node, failure: Failure::Raised { kind, message } }) => {
                let data = self.error(graph, &node, kind, &message);
                self.message("execution_error", data);
                if lies { Ending::Lied } else { Ending::Failed }
            }
        }
    }

    /// Finds cached results of this graph and drops those of other graphs, as the default cache does (PROTOCOL §7).
    fn take_cached(&mut self, graph: Graph<'_>) -> std::collections::HashMap<String, blake3::Hash> {
        let process = Arc::clone(&self.process);
        let version = |name: &str| process.files().annotated(name).map_or(0, |file| file.version).to_string();
        let signatures = graph.signatures(&uuid::Uuid::new_v4().to_string(), &version);
        let mut cache = self.process.cache();
        let wanted: std::collections::HashSet<&blake3::Hash> = signatures.values().collect();
        cache.retain(|signature, _| wanted.contains(signature));
        for (node, signature) in &signatures {
            if let Some(computed) = cache.get(signature) {
                self.results.insert(node.clone(), Arc::clone(computed));
            }
        }
        drop(cache);
        signatures
    }

    /// The failure ordered for this prompt, if any.
    fn doom(&self) -> Option<Failure> {
        let faults = &self.process.faults;
        if faults.take(|state| &mut state.out_of_memory) {
            return Some(Failure::out_of_memory(faults.state().legacy_oom_name));
        }
        faults.take(|state| &mut state.cuda_faults).then(Failure::cuda_fault)
    }

    async fn run_nodes(
        &mut self,
        graph: Graph<'_>,
        signatures: &std::collections::HashMap<String, blake3::Hash>,
        mut doom: Option<Failure>,
    ) -> Result<(), Failed> {
        let classes = Arc::clone(&self.process.classes);
        let lazy = |node: &str, input: &str| graph::is_lazy(&classes, graph.class(node), input);
        let is_output = |node: &str| classes.is_output(graph.class(node));
        let has_heavy = graph.0.keys().any(|node| HEAVY.contains(&graph.class(node)));
        let blocked_branch = self.process.faults.take(|state| &mut state.blocked_branches);
        let never_finish = self.process.faults.take_never_finish();
        let mut schedule = Schedule::default();
        let item = Arc::clone(&self.item);
        for output in &item.outputs {
            schedule.add(graph, output, &|node| self.results.contains_key(node), &lazy);
        }
        if blocked_branch && let Some(output) = item.outputs.first() {
            self.tell_blocked(graph, output, "Blocked Execution");
        }
        while !schedule.is_empty() {
            let Some(node) = schedule.next(&is_output) else {
                let node = item.outputs.first().cloned().unwrap_or_default();
                let failure = Failure::raised("graph.DependencyCycleError", "Dependency cycle detected\n");
                return Err(Failed { node, failure });
            };
            let failed = |failure| Failed { node: node.clone(), failure };
            if let Some(computed) = self.results.get(&node).cloned() {
                self.repeat(&node, &computed);
                schedule.complete(&node);
                continue;
            }
            self.start_node(&node);
            self.checkpoint().await.map_err(failed)?;
            let class = graph.class(&node);
            if !has_heavy || HEAVY.contains(&class) {
                doom.take().map_or(Ok(()), Err).map_err(failed)?;
            }
            if class == "TestLazyMixImages" && self.asked.insert(node.clone()) {
                for from in self.unmet_lazy_inputs(graph, &node) {
                    schedule.depend(&from, &node);
                    schedule.add(graph, &from, &|node| self.results.contains_key(node), &lazy);
                }
                continue;
            }
            let computed = self.run_node(graph, &node).await.map_err(failed)?;
            let computed = Arc::new(computed);
            if let Some(signature) = signatures.get(&node) {
                self.process.cache().insert(*signature, Arc::clone(&computed));
            }
            self.results.insert(node.clone(), computed);
            self.executed.push(node.clone());
            self.finish_node(&node);
            schedule.complete(&node);
        }
        self.linger(never_finish)
            .await
            .map_err(|failure| Failed { node: self.executed.last().cloned().unwrap_or_default(), failure })
    }

    /// A cached output: told again, not done again.
    fn repeat(&mut self, node: &str, computed: &Computed) {
        if let Some(ui) = &computed.ui {
            self.show(node, ui);
        }
        self.finish_node(node);
    }

    async fn run_node(&mut self, graph: Graph<'_>, node: &str) -> Result<Computed, Failure> {
        let class = graph.class(node);
        let inputs = self.inputs(graph, node);
        let blocked = inputs.0.values().find_map(|data| match data {
            Data::Blocked(message) => Some(message.clone()),
            _ => None,
        });
        if let Some(message) = blocked {
            if let Some(message) = message {
                self.tell_blocked(graph, node, &message);
            }
            return Ok(Computed { outputs: vec![Data::Blocked(None)], ui: None });
        }
        if !HEAVY.contains(&class) && class != "TestSleep" {
            self.pass_node().await;
        }
        let (outputs, ui) = nodes::execute(self, node, class, &inputs).await?;
        if let Some(ui) = &ui {
            self.show(node, ui);
        }
        Ok(Computed { outputs, ui })
    }

    /// Literals as they are, links as what they lead to.
    fn inputs(&self, graph: Graph<'_>, node: &str) -> Inputs {
        let follow = |value: &Value| match graph::link(value) {
            Some((from, slot)) => {
                let slot = usize::try_from(slot).unwrap_or(usize::MAX);
                let outputs = self.results.get(from).map(|computed| computed.outputs.as_slice());
                match outputs.unwrap_or_default() {
                    [only @ Data::Blocked(_)] => only.clone(),
                    outputs => outputs.get(slot).cloned().unwrap_or(Data::Opaque),
                }
            }
            None => Data::Literal(value.clone()),
        };
        let inputs = graph.inputs(node).iter();
        Inputs(inputs.map(|(name, value)| (name.clone(), follow(value))).collect())
    }

    /// Links a lazy node now asks for and that were not computed.
    fn unmet_lazy_inputs(&self, graph: Graph<'_>, node: &str) -> Vec<String> {
        let mask = self.inputs(graph, node);
        nodes::test_nodes::wanted_images(mask.literal("mask"))
            .iter()
            .filter_map(|name| graph::link(graph.inputs(node).get(*name)?))
            .map(|(from, _)| from.to_owned())
            .filter(|from| !self.results.contains_key(from))
            .collect()
    }

    /// An `execution_error` that ends nothing and that history never hears of (PROTOCOL §8.2).
    fn tell_blocked(&self, graph: Graph<'_>, node: &str, message: &str) {
        let data = json!({
            "prompt_id": self.item.prompt_id,
            "node_id": node,
            "node_type": graph.class(node),
            "executed": self.executed,
            "exception_message": format!("Execution Blocked: {message}"),
            "exception_type": "ExecutionBlocked",
            "traceback": [],
            "current_inputs": [],
            "current_outputs": [],
        });
        self.tell_owner("execution_error", &data);
    }

    /// The data of a final `execution_error`.
    fn error(&self, graph: Graph<'_>, node: &str, kind: &str, message: &str) -> Value {
        let inputs = self.inputs(graph, node);
        let current: Map<String, Value> = graph
            .inputs(node)
            .keys()
            .map(|name| (name.clone(), json!([inputs.data(name).to_text()])))
            .collect();
        json!({
            "prompt_id": self.item.prompt_id,
            "node_id": node,
            "node_type": graph.class(node),
            "executed": self.executed,
            "exception_message": message,
            "exception_type": kind,
            "traceback": [
                "  File \"/opt/comfyui/execution.py\", line 545, in execute\n    <source line>\n",
                "  File \"/opt/comfyui/execution.py\", line 344, in get_output_data\n    <source line>\n",
            ],
            "current_inputs": current,
            "current_outputs": graph.0.keys().collect::<Vec<_>>(),
        })
    }

    /// Ends only when interrupted, if so ordered.
    async fn linger(&self, never_finish: bool) -> Result<(), Failure> {
        self.process.faults.wait_until(|state| !state.hang).await;
        if !never_finish {
            return Ok(());
        }
        loop {
            self.checkpoint().await?;
            tokio::time::sleep(INTERRUPT_POLL).await;
        }
    }
}
