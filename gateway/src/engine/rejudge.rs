//! Reading a catalogue, and judging by it the jobs that were accepted while none was known (DESIGN §4.7).

use std::sync::Arc;

use scheduler::{Requirement, Shape};
use uuid::Uuid;

use super::effects::{Hands, Returned};
use crate::store::JobError;
use crate::workflow::{self, Catalogue, Graph, Limits};

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
    /// Reads a catalogue off the async threads and judges the waiting jobs by it.
    pub(super) async fn read_catalogue(
        self,
        hash: String,
        body: Arc<str>,
        waiting: Vec<Uuid>,
        limits: Limits,
        shared_inputs: Arc<[String]>,
    ) {
        let text = body.clone();
        let read = tokio::task::spawn_blocking(move || Catalogue::read(&text)).await;
        let catalogue = match read {
            Ok(Ok(catalogue)) => Arc::new(catalogue),
            Ok(Err(error)) => {
                let _ = self.returned.send(Returned::BadCatalogue { hash, problem: error.to_string() });
                return;
            }
            Err(error) => {
                let _ = self.returned.send(Returned::BadCatalogue { hash, problem: error.to_string() });
                return;
            }
        };
        let mut judged = Vec::with_capacity(waiting.len());
        for job in waiting {
            judged.push((job, self.judge_again(job, &catalogue, &limits, &shared_inputs).await));
        }
        let _ = self.returned.send(Returned::Catalogue { catalogue, body, judged });
    }

    async fn judge_again(
        &self,
        job: Uuid,
        catalogue: &Arc<Catalogue>,
        limits: &Limits,
        shared: &[String],
    ) -> Verdict {
        let Ok(Some(body)) = self.store.body(job).await else { return Verdict::Unknown };
        let graph = match Graph::parse(&body.workflow, limits) {
            Ok(graph) => graph,
            Err(error) => return Verdict::Refused(invalid(error.to_string())),
        };
        match workflow::judge(&graph, std::slice::from_ref(catalogue), shared) {
            Ok(judged) => Verdict::Runs { requirement: judged.requirement, shape: judged.shape },
            Err(refused) => Verdict::Refused(invalid(refused.message)),
        }
    }
}

fn invalid(message: String) -> JobError {
    JobError { code: "invalid_workflow".into(), message, ..JobError::default() }
}
