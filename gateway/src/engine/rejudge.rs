//! Reading a catalogue, and judging the jobs that were accepted while none was known (DESIGN §4.7). Until it is judged
//! a job needs [`UNJUDGED`], which nothing offers: it is not placed on an instance that would refuse it.

use std::sync::Arc;

use scheduler::{Part, Requirement, Shape};
use uuid::Uuid;

use super::effects::{Hands, Returned};
use crate::store::JobError;
use crate::workflow::{self, Catalogue, Graph, Limits};

/// What no instance offers: the need of a job that has not been judged yet.
pub const UNJUDGED: Part = Part(u64::MAX);

/// The needs of a job that has not been judged yet.
pub(super) fn unjudged() -> Arc<Requirement> {
    Arc::new(Requirement { parts: [UNJUDGED].into(), models: [].into() })
}

/// What became of a job that waited for a catalogue.
pub(super) enum Verdict {
    /// It can run.
    Runs { requirement: Arc<Requirement>, shape: Shape },
    /// It cannot, and why.
    Refused(JobError),
    /// Its body could not be read now: it stays as it is.
    Unknown,
}

impl Hands {
    /// Reads a catalogue off the async threads.
    pub(super) async fn read_catalogue(self, hash: String, body: Arc<str>) {
        let text = body.clone();
        let read = tokio::task::spawn_blocking(move || Catalogue::read(&text)).await;
        let returned = match read {
            Ok(Ok(catalogue)) => Returned::Catalogue { catalogue: Arc::new(catalogue), body },
            Ok(Err(error)) => Returned::BadCatalogue { hash, problem: error.to_string() },
            Err(error) => Returned::BadCatalogue { hash, problem: error.to_string() },
        };
        // The engine is gone only when the process is going away.
        let _ = self.returned.send(returned);
    }

    /// Judges the jobs that were accepted while no catalogue was known.
    pub(super) async fn judge_waiting(self, waiting: Vec<Uuid>, bench: Bench) {
        let mut judged = Vec::with_capacity(waiting.len());
        for job in waiting {
            judged.push((job, self.judge_again(job, &bench).await));
        }
        let _ = self.returned.send(Returned::Judged { judged, settled: bench.settled });
    }

    async fn judge_again(&self, job: Uuid, bench: &Bench) -> Verdict {
        let body = match self.store.body(job).await {
            Ok(Some(body)) => body,
            Ok(None) => return Verdict::Refused(invalid("the stored workflow is gone".to_owned())),
            Err(_) => return Verdict::Unknown,
        };
        let graph = match Graph::parse(&body.workflow, &bench.limits) {
            Ok(graph) => graph,
            Err(error) => return Verdict::Refused(invalid(error.to_string())),
        };
        match workflow::judge(&graph, &bench.catalogues, &bench.shared_inputs) {
            Ok(judged) => match judged.references.iter().find(|it| !body.holds(&it.pointer)) {
                // Only a catalogue tells which inputs take files; what was not pinned at acceptance is not the tenant's.
                Some(loose) => Verdict::Refused(JobError {
                    code: "missing_asset".into(),
                    message: format!(
                        "the file at {} was named while the fleet's catalogues were not known and could not be pinned; \
                         submit the job again",
                        loose.pointer
                    ),
                    ..JobError::default()
                }),
                None => Verdict::Runs { requirement: judged.requirement, shape: judged.shape },
            },
            Err(refused) => Verdict::Refused(invalid(refused.message)),
        }
    }
}

/// What waiting jobs are judged by.
pub(super) struct Bench {
    pub(super) catalogues: Vec<Arc<Catalogue>>,
    /// No other catalogue is about to be known: a refusal is final.
    pub(super) settled: bool,
    pub(super) limits: Limits,
    pub(super) shared_inputs: Arc<[String]>,
}

fn invalid(message: String) -> JobError {
    JobError { code: "invalid_workflow".into(), message, ..JobError::default() }
}
