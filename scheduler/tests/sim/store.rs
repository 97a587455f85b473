//! What is durable: the rows that records write, and the bucket that uploads fill.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::{AttemptNo, Event, InstanceId, JobId, JobSpec, Learned, Outcome, Past, Record, Timestamp};

/// One job's row.
#[derive(Debug, Clone)]
pub struct Row {
    pub spec: JobSpec,
    pub past: Past,
    pub end: Option<(Option<AttemptNo>, Outcome)>,
}

/// The store and the bucket; both survive every crash.
#[derive(Debug, Default)]
pub struct Store {
    pub rows: BTreeMap<JobId, Row>,
    pub learned: Vec<Learned>,
    /// Complete output sets, visible or not.
    pub bucket: BTreeSet<(JobId, AttemptNo)>,
}

impl Store {
    pub fn insert(&mut self, job: JobId, spec: JobSpec) {
        self.rows.insert(job, Row { spec, past: Past::default(), end: None });
    }

    /// One committed turn.
    pub fn write(&mut self, records: &[Record]) {
        for record in records {
            match *record {
                Record::Refused { job } => {
                    self.rows.remove(&job);
                }
                Record::Placed { job, attempt, instance, at } => self.place(job, attempt, instance, at),
                Record::AttemptEnded { job, attempt, faults, losses, .. } => {
                    let past = &mut self.open(job).past;
                    assert_eq!(past.attempt, Some(attempt), "{job:?}: an end of an attempt that is not open");
                    past.open_on = None;
                    past.faults = faults;
                    past.losses = losses;
                }
                Record::CancelIntended { job } => self.open(job).past.cancel_requested = true,
                Record::ClassChanged { job, class } => self.open(job).spec.class = class,
                Record::Ended { job, attempt, outcome, .. } => {
                    if outcome == Outcome::Succeeded {
                        let winner = attempt.expect("a success names its attempt");
                        assert!(
                            self.bucket.contains(&(job, winner)),
                            "{job:?}: a success without its outputs"
                        );
                    }
                    self.open(job).end = Some((attempt, outcome));
                }
                Record::Learned(learned) => self.learned.push(learned),
            }
        }
    }

    fn place(&mut self, job: JobId, attempt: AttemptNo, instance: InstanceId, at: Timestamp) {
        let past = &mut self.open(job).past;
        assert_eq!(past.open_on, None, "{job:?}: placed while an attempt is open");
        let last = past.attempt.map_or(0, |attempt| attempt.0);
        assert_eq!(attempt.0, last + 1, "{job:?}: an attempt number is used once");
        past.attempt = Some(attempt);
        past.open_on = Some(instance);
        past.placed_at = at;
    }

    fn open(&mut self, job: JobId) -> &mut Row {
        let row = self.rows.get_mut(&job).unwrap_or_else(|| panic!("{job:?} has no row"));
        assert_eq!(row.end, None, "{job:?} ended twice or moved after its end");
        row
    }

    pub fn open_jobs(&self) -> usize {
        self.rows.values().filter(|row| row.end.is_none()).count()
    }

    /// What a new process is told of the past.
    pub fn recovery(&self) -> Vec<Event> {
        let learned = self.learned.iter().map(|learned| Event::Remembered(*learned));
        let open = self.rows.iter().filter(|(_, row)| row.end.is_none());
        let restored =
            open.map(|(job, row)| Event::Restored { job: *job, spec: row.spec.clone(), past: row.past });
        learned.chain(restored).collect()
    }
}
