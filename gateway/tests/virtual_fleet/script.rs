//! What `simulate` makes of a scenario with the production scheduler: the list that the engine has to repeat.

use std::collections::BTreeMap;

use scheduler::simulate::{Desk, Event, Fate, JobIx, Policy, PolicyKind, Scenario, replay};

use super::starts::Start;

pub struct Script {
    pub starts: Vec<Start>,
    heard: Vec<(i64, Event)>,
}

impl Script {
    pub fn of(scenario: &Scenario) -> Self {
        let policy = PolicyKind::Darkroom.build(scenario.setting());
        let mut witness = Witness { policy, heard: Vec::new() };
        let replay = replay(scenario, &mut witness);
        let mut tries: BTreeMap<JobIx, u32> = BTreeMap::new();
        let mut starts: Vec<Start> = replay
            .attempts
            .iter()
            .map(|attempt| {
                let number = tries.entry(attempt.job).or_default();
                *number += 1;
                Start {
                    at_ms: attempt.start_ms,
                    node: scenario.setting().nodes[attempt.node.index()].id.clone(),
                    job: scenario.jobs()[attempt.job.index()].id.clone(),
                    attempt: *number,
                }
            })
            .collect();
        starts.sort();
        Self { starts, heard: witness.heard }
    }

    pub fn count(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.heard.iter().filter(|(_, event)| of(event)).count()
    }

    /// Most jobs that ever waited at once.
    pub fn most_waiting(&self) -> usize {
        let joins = self.heard.iter().filter(|(_, event)| {
            matches!(
                event,
                Event::Arrived { .. } | Event::OutOfMemory { .. } | Event::Down { lost: Some(_), .. }
            )
        });
        let waiting = joins.enumerate().map(|(before, (at_ms, _))| {
            let started = self.starts.partition_point(|start| start.at_ms < *at_ms);
            (before + 1).saturating_sub(started)
        });
        waiting.max().unwrap_or(0)
    }

    /// Whether each thing happens in a millisecond of its own, away from the scheduler's wake-ups: then there is one
    /// order in which an engine can hear of them. Several wake-ups of one millisecond are one.
    pub fn has_one_order(&self) -> bool {
        self.heard.windows(2).all(|pair| {
            let [(earlier, first), (later, second)] = pair else { return true };
            earlier < later || (*first == Event::Timer && *second == Event::Timer)
        })
    }

    /// Whether the model gives a job up, as a caller would: the scheduler is then told of a will that is not its own.
    pub fn gives_up(&self) -> bool {
        let is_lost = |event: &Event| {
            matches!(
                event,
                Event::Down { lost: Some((_, Fate::Lost)), .. } | Event::OutOfMemory { fate: Fate::Lost, .. }
            )
        };
        self.count(is_lost) > 0
    }
}

/// Listens to what a policy hears.
struct Witness {
    policy: Box<dyn Policy>,
    heard: Vec<(i64, Event)>,
}

impl Policy for Witness {
    fn on_event(&mut self, event: Event, desk: &mut Desk<'_, '_>) {
        self.heard.push((desk.now_ms(), event));
        self.policy.on_event(event, desk);
    }
}
