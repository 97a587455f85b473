//! Sends an attempt's prompt, exactly once as far as anyone can tell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::AttemptEnd;
use serde_json::value::RawValue;
use tokio::time::MissedTickBehavior;

use super::drive::{Driver, Stop};
use super::stage;
use crate::link::message::{Rejection, Signal};
use crate::runner::attempt::Whereabouts;
use crate::runner::comfy::http::Posted;
use crate::runner::comfy::wire::{Accepted, ExtraData, Mark, Refusal, Submission};
use crate::runner::failure;

/// How long a dispatch waits for a socket to be open; without one it is polled.
const SOCKET_PATIENCE: Duration = Duration::from_secs(1);

impl Driver {
    /// Stages the inputs and sends the prompt; returns when ComfyUI has it.
    pub(super) async fn submit(&mut self) -> Result<(), Stop> {
        let reply = match self.send().await? {
            // ComfyUI's input folder was emptied behind our back
            Posted::Refused(refusal) if self.lacks_staged(&refusal) => {
                self.shared.forget_life();
                self.send().await?
            }
            reply => reply,
        };
        self.settle_reply(reply).await
    }

    async fn send(&mut self) -> Result<Posted, Stop> {
        let shared = self.shared.clone();
        let mut cell = shared.host.cell.clone();
        let cell = self.unless_withdrawn(cell.wait_for(Option::is_some)).await?.ok().and_then(|cell| *cell);
        let Some(cell) = cell else { return Err(Stop::Withdrawn) };
        let staged = self.stage().await?;
        let prompt = self.prepare(&staged)?;
        let client_id = self.unless_withdrawn(self.socket_id()).await?;
        // one at a time, and a withdrawal from here on comes after the POST
        let posting = self.unless_withdrawn(shared.posting.lock()).await?;
        shared.board.bind(&self.prompt, self.attempt);
        let sent_at = Instant::now();
        let extra_pnginfo = self.dispatch.extra_pnginfo.as_deref();
        let submission = Submission {
            prompt: &prompt,
            client_id: &client_id,
            prompt_id: &self.prompt,
            partial_execution_targets: self.dispatch.native.as_ref().and_then(|it| it.targets.as_deref()),
            extra_data: ExtraData {
                darkroom: Mark { cell, job: self.attempt.job, attempt: self.attempt.number },
                extra_pnginfo: extra_pnginfo.and_then(|text| serde_json::from_str::<&RawValue>(text).ok()),
                preview_method: self.dispatch.native.as_ref().and_then(|it| it.preview_method.as_deref()),
                api_key_comfy_org: self.dispatch.partner_key.as_ref().map(|key| key.0.as_str()),
            },
        };
        let posted = shared.comfy.submit(&submission).await;
        drop(posting);
        self.client_id = Some(client_id);
        self.unheard_since = Some(sent_at);
        Ok(posted)
    }

    /// Stages the inputs. That may take longer than the engine waits for a word: it hears one whenever it asks, and from
    /// time to time while bytes move.
    async fn stage(&mut self) -> Result<Vec<(String, String)>, Stop> {
        let mut orders = self.orders.clone();
        let moved = stage::Moved::default();
        let mut told = moved.bytes();
        let mut signs = tokio::time::interval(self.shared.host.config.times.staging_sign);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut staging = std::pin::pin!(stage::all(&self.shared, &self.dispatch.inputs, &moved));
        let staged = loop {
            tokio::select! {
                biased;
                () = self.slot.withdrawn.cancelled() => return Err(Stop::Withdrawn),
                staged = &mut staging => break staged,
                Ok(()) = orders.changed() => self.tell(Signal::Accepted).await,
                _ = signs.tick() => if std::mem::replace(&mut told, moved.bytes()) < moved.bytes() {
                    self.tell(Signal::Accepted).await;
                },
            }
        };
        staged.map_err(Stop::Over)
    }

    /// The id of the open socket; if there is none for long, one that nobody listens to.
    async fn socket_id(&self) -> Arc<str> {
        let mut contact = self.shared.contact.subscribe();
        let open = contact.wait_for(|contact| contact.socket.is_some());
        let open = tokio::time::timeout(SOCKET_PATIENCE, open).await;
        let id = open.ok().and_then(Result::ok).and_then(|contact| contact.socket.clone());
        id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string().into())
    }

    fn lacks_staged(&self, refusal: &Refusal) -> bool {
        let names = refusal.node_errors.to_string();
        self.dispatch.inputs.iter().any(|input| names.contains(&input.hash))
    }

    async fn settle_reply(&mut self, reply: Posted) -> Result<(), Stop> {
        match reply {
            Posted::Accepted(accepted) => self.accepted(accepted).await,
            Posted::Refused(refusal) => Err(Stop::Over(Signal::Invalid(failure::rejection(*refusal)))),
            Posted::TooLarge => Err(Stop::Over(Signal::Invalid(Rejection {
                kind: "prompt_too_large".into(),
                message: "the workflow is larger than the instance takes".into(),
                node_errors: None,
            }))),
            Posted::Unreachable(why) => Err(Stop::lost(AttemptEnd::Unreachable, why)),
            Posted::Unknown(why) => self.find_unanswered(&why).await,
        }
    }

    async fn accepted(&mut self, accepted: Accepted) -> Result<(), Stop> {
        if let Some(number) = accepted.number {
            self.shared.saw_number(number);
            self.shared.tell_restart().await;
        }
        if accepted.prompt_id != self.prompt {
            self.prompt = accepted.prompt_id;
            self.shared.board.bind(&self.prompt, self.attempt);
            // what was sent before the id was known is lost
            self.seen.blind();
        }
        let dropped = accepted.node_errors.as_object().is_some_and(|errors| !errors.is_empty());
        if dropped && self.dispatch.strict {
            self.get_rid().await;
            return Err(Stop::Over(Signal::Invalid(failure::dropped_outputs(accepted.node_errors))));
        }
        self.tell(Signal::Accepted).await;
        Ok(())
    }

    /// The POST may or may not have arrived (DESIGN §13).
    async fn find_unanswered(&mut self, why: &str) -> Result<(), Stop> {
        tracing::warn!(instance = %self.shared.name, job = %self.attempt.job, why, "reply lost, looking it up");
        self.seen.blind();
        let found = self.look_twice(true).await?;
        self.shared.board.bind(&self.prompt, self.attempt);
        if matches!(found, Whereabouts::Nowhere) {
            return Err(Stop::lost(AttemptEnd::NoTrace, format!("its POST left no trace: {why}")));
        }
        self.tell(Signal::Accepted).await;
        Ok(())
    }
}
