//! Model instances with their runners: they outlive crashes of the gateway and have faults of their own.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::{AttemptEnd, AttemptNo, Effect, Event, InstanceId, JobId, Signal, Timestamp};

use crate::rng::Chance;

/// A runner repeats what was not answered this often, milliseconds.
const REPEAT_MS: i64 = 20_000;

pub type Key = (JobId, AttemptNo);

/// What a runner knows of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// In ComfyUI's queue.
    Waiting,
    Running {
        until: i64,
    },
    /// Files listed; the runner asks for tickets until it gets them.
    Listed {
        tell_at: i64,
    },
    /// Uploaded; told until it is settled or withdrawn.
    Uploaded {
        tell_at: i64,
    },
    /// Its files died before the store had them all; told for ever, for nobody else will ever say it.
    Gone {
        tell_at: i64,
    },
    /// Ended without outputs; told until nobody asks.
    Over(Signal),
}

/// One instance with its runner.
#[derive(Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub card_mib: u32,
    speed_milli: i64,
    /// Whether the gateway can talk to it.
    pub up: bool,
    /// Up again at this time.
    pub back_at: Option<i64>,
    known: BTreeMap<Key, Known>,
    /// In ComfyUI's order.
    order: Vec<Key>,
    withdrawn: BTreeSet<Key>,
}

/// What the simulation says of a job, hidden from the scheduler.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    pub work_ms: i64,
    pub peak_mib: u32,
    pub node_error: bool,
}

impl Instance {
    pub fn new(id: u32, card_mib: u32, speed_milli: i64) -> Self {
        Self {
            id: InstanceId(id),
            card_mib,
            speed_milli,
            up: true,
            back_at: None,
            known: BTreeMap::new(),
            order: Vec::new(),
            withdrawn: BTreeSet::new(),
        }
    }

    fn word(key: Key, signal: Signal) -> Event {
        Event::Attempt { job: key.0, attempt: key.1, signal }
    }

    /// Prompts that ComfyUI has.
    pub fn prompts(&self) -> usize {
        self.order.len()
    }

    /// Carries one effect out; every effect may come twice.
    pub fn carry_out(&mut self, effect: &Effect, chance: &mut Chance, chaos: bool) -> Vec<Event> {
        match *effect {
            Effect::Dispatch { job, attempt, .. } => self.take_in((job, attempt), chance, chaos),
            Effect::LookUp { job, attempt, .. } => vec![self.look_up((job, attempt))],
            Effect::Withdraw { job, attempt, .. } => self.withdraw((job, attempt)),
            // What is done tells its end itself.
            Effect::Preempt { job, attempt, .. } => match self.known.get(&(job, attempt)) {
                Some(Known::Waiting | Known::Running { .. }) | None => self.withdraw((job, attempt)),
                Some(_) => Vec::new(),
            },
            Effect::Settle { job, attempt, .. } => {
                self.known.remove(&(job, attempt));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn withdraw(&mut self, key: Key) -> Vec<Event> {
        self.order.retain(|other| *other != key);
        self.known.remove(&key);
        self.withdrawn.insert(key);
        vec![Self::word(key, Signal::Stopped)]
    }

    fn take_in(&mut self, key: Key, chance: &mut Chance, chaos: bool) -> Vec<Event> {
        if self.known.contains_key(&key) || self.withdrawn.contains(&key) {
            return Vec::new();
        }
        if chaos && chance.permille(30) {
            return vec![Self::word(key, Signal::Lost(AttemptEnd::Unreachable))];
        }
        self.known.insert(key, Known::Waiting);
        self.order.push(key);
        if chaos && chance.permille(50) {
            return vec![Self::word(key, Signal::ContactLost), self.look_up(key)]; // the reply was lost
        }
        vec![Self::word(key, Signal::Accepted)]
    }

    fn look_up(&self, key: Key) -> Event {
        let signal = match self.known.get(&key) {
            Some(Known::Waiting) => Signal::Accepted,
            Some(Known::Running { .. }) => Signal::Started,
            Some(Known::Listed { .. }) => Signal::Executed,
            Some(Known::Uploaded { .. }) => Signal::Published,
            Some(Known::Gone { .. }) => Signal::Lost(AttemptEnd::OutputsGone),
            Some(Known::Over(signal)) => *signal,
            None => Signal::Lost(AttemptEnd::NoTrace),
        };
        Self::word(key, signal)
    }

    /// Tickets for one attempt, if it is this instance that has its files.
    pub fn granted(&mut self, key: Key, now: i64, bucket: &mut BTreeSet<Key>) -> Vec<Event> {
        match self.known.get_mut(&key) {
            Some(known @ (Known::Listed { .. } | Known::Uploaded { .. })) => {
                *known = Known::Uploaded { tell_at: now + REPEAT_MS };
                bucket.insert(key);
                vec![Self::word(key, Signal::Published)]
            }
            _ => Vec::new(),
        }
    }

    /// Lets its prompts go on until now.
    pub fn go_on(&mut self, now: i64, truth: &BTreeMap<JobId, Truth>, chance: &mut Chance) -> Vec<Event> {
        let mut told = Vec::new();
        if let Some(key) = self.order.first().copied() {
            match self.known.get(&key).copied() {
                Some(Known::Waiting) => {
                    let until = now + truth[&key.0].work_ms * 1000 / self.speed_milli;
                    self.known.insert(key, Known::Running { until });
                    told.push(Self::word(key, Signal::Started));
                }
                Some(Known::Running { until }) if until <= now => {
                    self.order.remove(0);
                    told.extend(self.finish(key, now, truth[&key.0]));
                }
                Some(Known::Running { .. }) if chance.permille(100) => {
                    told.push(Self::word(key, Signal::Progress))
                }
                _ => {}
            }
        }
        for (key, known) in &mut self.known {
            match known {
                Known::Listed { tell_at } if *tell_at <= now => {
                    *tell_at = now + REPEAT_MS;
                    told.push(Self::word(*key, Signal::Executed));
                }
                Known::Uploaded { tell_at } if *tell_at <= now => {
                    *tell_at = now + REPEAT_MS;
                    told.push(Self::word(*key, Signal::Published));
                }
                Known::Gone { tell_at } if *tell_at <= now => {
                    *tell_at = now + REPEAT_MS;
                    told.push(Self::word(*key, Signal::Lost(AttemptEnd::OutputsGone)));
                }
                _ => {}
            }
        }
        told
    }

    fn finish(&mut self, key: Key, now: i64, truth: Truth) -> Vec<Event> {
        let signal = if truth.peak_mib > self.card_mib {
            Signal::Lost(AttemptEnd::OutOfMemory)
        } else if truth.node_error {
            Signal::NodeFailed
        } else {
            Signal::Executed
        };
        let known = if signal == Signal::Executed {
            Known::Listed { tell_at: now + REPEAT_MS }
        } else {
            Known::Over(signal)
        };
        self.known.insert(key, known);
        vec![Self::word(key, signal)]
    }

    /// ComfyUI dies: its queue is gone, files that were listed stay.
    pub fn die(&mut self) -> Vec<Event> {
        let mut told = Vec::new();
        for key in std::mem::take(&mut self.order) {
            let end = match self.known.remove(&key) {
                Some(Known::Running { .. }) => AttemptEnd::InstanceDied,
                _ => AttemptEnd::NoTrace,
            };
            told.push(Self::word(key, Signal::Lost(end)));
        }
        told
    }

    /// A listed file is gone: the set is void.
    pub fn lose_outputs(&mut self, now: i64) {
        if let Some(known) = self.known.values_mut().find(|known| matches!(known, Known::Listed { .. })) {
            *known = Known::Gone { tell_at: now };
        }
    }

    /// The machine vanishes with everything on it; its runner remembers only which files it owed.
    pub fn vanish(&mut self, now: i64, back_at: i64) {
        self.order.clear();
        self.known.retain(|_, known| {
            matches!(known, Known::Listed { .. } | Known::Uploaded { .. } | Known::Gone { .. })
        });
        for known in self.known.values_mut() {
            *known = Known::Gone { tell_at: now };
        }
        self.go_down(back_at);
    }

    pub fn go_down(&mut self, back_at: i64) {
        self.up = false;
        self.back_at = Some(back_at);
    }

    pub fn is_due_back(&self, now: Timestamp) -> bool {
        self.back_at.is_some_and(|at| at <= now.0)
    }
}
