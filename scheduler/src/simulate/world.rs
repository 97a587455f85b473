//! The state of the fleet and of every job, and the steps they can take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::caches::Caches;
use super::desk::{Refused, Running};
use super::policy::{Event, Fate};
use super::replay::{Attempt, AttemptOutcome, JobEnd, Replay, UpPeriod};
use super::scenario::{JobIx, Ms, NodeEventKind, NodeIx, Scenario};

/// What is due, in the order of the model: time, kind, index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) t: Ms,
    pub(super) what: What,
}

/// The kinds in their order; what is compared after the kind is the model's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// An attempt ends by itself, or a node has let go of an interrupted one.
    Completion {
        node: NodeIx,
        attempt: usize,
    },
    /// Position in `events`.
    NodeEvent(usize),
    Arrival(JobIx),
    /// Counts up, so that timers of one instant ring in the order they were set.
    Timer(u64),
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Down,
    Idle,
    /// The job of this attempt.
    Runs(usize),
    /// Lets go of this interrupted attempt.
    LetsGo(usize),
}

#[derive(Debug)]
pub(super) struct NodeState {
    doing: Doing,
    pub(super) caches: Caches,
    up_since: Ms,
}

impl NodeState {
    pub(super) fn is_up(&self) -> bool {
        self.doing != Doing::Down
    }

    pub(super) fn is_idle(&self) -> bool {
        self.doing == Doing::Idle
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobPhase {
    Ahead,
    Waits,
    Runs,
    Ended(JobEnd),
}

#[derive(Debug)]
pub(super) struct JobState {
    phase: JobPhase,
    pub(super) attempts: u32,
    pub(super) est_vram_mib: i64,
}

/// The world of one replay.
#[derive(Debug)]
pub(super) struct World<'s> {
    pub(super) scenario: &'s Scenario,
    pub(super) now: Ms,
    pub(super) nodes: Vec<NodeState>,
    pub(super) jobs: Vec<JobState>,
    due: BinaryHeap<Reverse<Due>>,
    timers: u64,
    open_jobs: usize,
    log: Vec<Attempt>,
    ups: Vec<UpPeriod>,
}

impl<'s> World<'s> {
    pub(super) fn new(scenario: &'s Scenario) -> Self {
        let nodes = scenario.setting.nodes.iter().map(|_| NodeState {
            doing: Doing::Idle,
            caches: Caches::default(),
            up_since: 0,
        });
        let jobs = scenario.jobs.iter().map(|job| JobState {
            phase: JobPhase::Ahead,
            attempts: 0,
            est_vram_mib: job.est_vram_mib,
        });
        let events = scenario.truth.events.iter().enumerate();
        let arrivals = scenario.jobs.iter().zip(0..);
        let due = events
            .map(|(index, event)| Due { t: event.t, what: What::NodeEvent(index) })
            .chain(arrivals.map(|(job, index)| Due { t: job.t, what: What::Arrival(JobIx(index)) }))
            .map(Reverse)
            .collect();
        Self {
            scenario,
            now: 0,
            nodes: nodes.collect(),
            jobs: jobs.collect(),
            due,
            timers: 0,
            open_jobs: scenario.jobs.len(),
            log: Vec::with_capacity(scenario.jobs.len()),
            ups: Vec::new(),
        }
    }

    /// When the next step is due.
    pub(super) fn next_ms(&self) -> Option<Ms> {
        self.due.peek().filter(|_| !self.is_over()).map(|Reverse(due)| due.t)
    }

    pub(super) fn is_over(&self) -> bool {
        self.open_jobs == 0
    }

    /// Time goes on without a step; not past the next one.
    pub(super) fn pass_to(&mut self, now: Ms) {
        self.now = self.now.max(self.next_ms().map_or(now, |next| now.min(next)));
    }

    /// Takes the next step; what the policy is to hear of it, if anything. `None` when nothing is left to happen.
    pub(super) fn step(&mut self) -> Option<Option<Event>> {
        if self.is_over() {
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        self.now = due.t;
        Some(match due.what {
            What::Completion { node, attempt } => self.on_completion(node, attempt),
            What::NodeEvent(index) => self.on_node_event(index),
            What::Arrival(job) => self.on_arrival(job),
            What::Timer(_) => Some(Event::Timer),
        })
    }

    pub(super) fn fits(&self, job: JobIx, node: NodeIx) -> bool {
        let class = self.scenario.setting.class_of(node);
        class.speed(self.scenario.jobs[job.index()].family).runs()
            && self.jobs[job.index()].est_vram_mib <= class.vram_mib
    }

    pub(super) fn running(&self, node: NodeIx) -> Option<Running> {
        match self.nodes[node.index()].doing {
            Doing::Runs(attempt) => {
                let Attempt { job, start_ms, .. } = self.log[attempt];
                Some(Running { job, started_ms: start_ms })
            }
            Doing::Down | Doing::Idle | Doing::LetsGo(_) => None,
        }
    }

    pub(super) fn start(&mut self, job: JobIx, node: NodeIx) -> Result<(), Refused> {
        match self.nodes[node.index()].doing {
            Doing::Down => return Err(Refused::NodeDown),
            Doing::Runs(_) | Doing::LetsGo(_) => return Err(Refused::NodeBusy),
            Doing::Idle => {}
        }
        if self.jobs[job.index()].phase != JobPhase::Waits {
            return Err(Refused::NotWaiting);
        }
        let class = self.scenario.setting.nodes[node.index()].class;
        match self.scenario.exec_ms(job, class) {
            Some(exec_ms) if self.fits(job, node) => self.begin(job, node, exec_ms),
            Some(_) | None => return Err(Refused::DoesNotFit),
        }
        Ok(())
    }

    /// The model's "at start": the caches change at once, and the end is known.
    fn begin(&mut self, job: JobIx, node: NodeIx, exec_ms: Ms) {
        let setting = &self.scenario.setting;
        let (class, known) = (setting.class_of(node), &self.scenario.jobs[job.index()]);
        let peak = self.scenario.truth.jobs[job.index()].peak_vram_mib;
        let caches = &mut self.nodes[node.index()].caches;
        let load_ms = caches.load_ms(setting, class, known);
        let (mut found, mut cold_loras) = (caches.find(known.ckpt), caches.cold_loras(known));
        caches.start(setting, class, known, peak);
        let (mut run_ms, mut outcome) = (exec_ms, AttemptOutcome::Completed);
        if peak > class.vram_mib {
            (run_ms, outcome) = (setting.constants.oom_ms, AttemptOutcome::OutOfMemory);
            caches.clear_vram();
            // The reference results look at such an attempt after it has emptied VRAM and filled host RAM.
            (found, cold_loras) = (caches.find(known.ckpt), caches.cold_loras(known));
        }
        let took_ms = setting.constants.overhead_ms.saturating_add(load_ms).saturating_add(run_ms);
        let attempt = self.log.len();
        let (start_ms, end_ms) = (self.now, self.now.saturating_add(took_ms));
        self.log.push(Attempt {
            job,
            node,
            start_ms,
            end_ms,
            load_ms,
            exec_ms: run_ms,
            outcome,
            found,
            cold_loras,
        });
        self.nodes[node.index()].doing = Doing::Runs(attempt);
        self.jobs[job.index()].phase = JobPhase::Runs;
        self.push(took_ms, What::Completion { node, attempt });
    }

    pub(super) fn interrupt(&mut self, node: NodeIx) -> Result<JobIx, Refused> {
        let attempt = match self.nodes[node.index()].doing {
            Doing::Down => return Err(Refused::NodeDown),
            Doing::Idle | Doing::LetsGo(_) => return Err(Refused::NothingRuns),
            Doing::Runs(attempt) => attempt,
        };
        let free_after = self.scenario.setting.constants.interrupt_ms;
        let entry = &mut self.log[attempt];
        entry.outcome = AttemptOutcome::Interrupted;
        entry.end_ms = self.now.saturating_add(free_after);
        let job = entry.job;
        self.jobs[job.index()].phase = JobPhase::Waits;
        self.nodes[node.index()].doing = Doing::LetsGo(attempt);
        self.push(free_after, What::Completion { node, attempt });
        Ok(job)
    }

    pub(super) fn wake_at(&mut self, at: Ms) {
        self.timers += 1;
        self.due.push(Reverse(Due { t: at.max(self.now), what: What::Timer(self.timers) }));
    }

    fn push(&mut self, after_ms: Ms, what: What) {
        self.due.push(Reverse(Due { t: self.now.saturating_add(after_ms), what }));
    }

    fn on_arrival(&mut self, job: JobIx) -> Option<Event> {
        let family = self.scenario.jobs[job.index()].family;
        self.jobs[job.index()].phase = JobPhase::Waits;
        if self.scenario.setting.fits_somewhere(family, self.jobs[job.index()].est_vram_mib) {
            return Some(Event::Arrived { job });
        }
        self.end(job, JobEnd::Lost);
        None
    }

    fn on_completion(&mut self, node: NodeIx, attempt: usize) -> Option<Event> {
        let entry = self.log[attempt].clone();
        let job = entry.job;
        match self.nodes[node.index()].doing {
            Doing::Runs(current) if current == attempt => {}
            // The end that an interrupted attempt would have had may fall before the one it got.
            Doing::LetsGo(current) if current == attempt && entry.end_ms == self.now => {
                self.nodes[node.index()].doing = Doing::Idle;
                return Some(Event::Freed { node });
            }
            _ => return None,
        }
        self.nodes[node.index()].doing = Doing::Idle;
        if entry.outcome == AttemptOutcome::OutOfMemory {
            let vram = self.scenario.setting.class_of(node).vram_mib;
            let state = &mut self.jobs[job.index()];
            state.est_vram_mib = state.est_vram_mib.max(vram + 1);
            let fate = self.count_failure(job);
            return Some(Event::OutOfMemory { node, job, fate });
        }
        self.end(job, JobEnd::Completed { attempt });
        Some(Event::Completed {
            node,
            job,
            started_ms: entry.start_ms,
            load_ms: entry.load_ms,
            exec_ms: entry.exec_ms,
            peak_vram_mib: self.scenario.truth.jobs[job.index()].peak_vram_mib,
        })
    }

    fn on_node_event(&mut self, index: usize) -> Option<Event> {
        let event = self.scenario.truth.events[index];
        let node = event.node;
        let is_up = self.nodes[node.index()].is_up();
        match event.kind {
            NodeEventKind::Notice { down_at } => is_up.then_some(Event::Notice { node, down_at_ms: down_at }),
            NodeEventKind::Down => is_up.then(|| self.on_down(node)),
            NodeEventKind::Up if is_up => None,
            NodeEventKind::Up => {
                let state = &mut self.nodes[node.index()];
                (state.doing, state.up_since) = (Doing::Idle, self.now);
                Some(Event::Up { node })
            }
        }
    }

    fn on_down(&mut self, node: NodeIx) -> Event {
        let state = &mut self.nodes[node.index()];
        self.ups.push(UpPeriod { node, from_ms: state.up_since, until_ms: self.now });
        state.caches = Caches::default();
        let lost = match std::mem::replace(&mut state.doing, Doing::Down) {
            Doing::Runs(attempt) => {
                let entry = &mut self.log[attempt];
                (entry.outcome, entry.end_ms) = (AttemptOutcome::NodeLost, self.now);
                let job = entry.job;
                Some((job, self.count_failure(job)))
            }
            Doing::LetsGo(attempt) => {
                self.log[attempt].end_ms = self.now;
                None
            }
            Doing::Idle | Doing::Down => None,
        };
        Event::Down { node, lost }
    }

    fn count_failure(&mut self, job: JobIx) -> Fate {
        let family = self.scenario.jobs[job.index()].family;
        let state = &mut self.jobs[job.index()];
        state.attempts += 1;
        state.phase = JobPhase::Waits;
        let out_of_attempts = state.attempts >= self.scenario.setting.constants.max_attempts;
        if out_of_attempts || !self.scenario.setting.fits_somewhere(family, state.est_vram_mib) {
            self.end(job, JobEnd::Lost);
            return Fate::Lost;
        }
        Fate::Waits
    }

    fn end(&mut self, job: JobIx, end: JobEnd) {
        self.jobs[job.index()].phase = JobPhase::Ended(end);
        self.open_jobs -= 1;
    }

    /// Closes the books, now: what is still up was up until then.
    pub(super) fn close(mut self) -> Replay {
        let still_up = self.nodes.iter().zip(0..).filter(|(state, _)| state.is_up());
        let until_now = still_up.map(|(state, node)| UpPeriod {
            node: NodeIx(node),
            from_ms: state.up_since,
            until_ms: self.now,
        });
        self.ups.extend(until_now);
        let ends = self.jobs.iter().map(|job| match job.phase {
            JobPhase::Ended(end) => end,
            // Nothing can happen any more, so nobody will ever run it.
            JobPhase::Ahead | JobPhase::Waits | JobPhase::Runs => JobEnd::Lost,
        });
        Replay {
            ends: ends.collect(),
            failed_attempts: self.jobs.iter().map(|job| job.attempts).collect(),
            attempts: self.log,
            ups: self.ups,
            end_ms: self.now,
        }
    }
}
