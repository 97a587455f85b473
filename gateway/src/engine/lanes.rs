//! Effects run in one lane per instance and one per job, in commit order (DESIGN §4.2): a cancel cannot overtake its
//! POST, and a slow effect holds up its own lane only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use scheduler::InstanceId;
use uuid::Uuid;

/// Which effects must keep their order among each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Whatever is asked of one instance.
    Instance(InstanceId),
    /// Whatever concerns the outputs of one job.
    Job(Uuid),
}

type Queue = VecDeque<BoxFuture<'static, ()>>;

/// The lanes with work in them. A lane exists while it has any.
#[derive(Clone, Default)]
pub(super) struct Lanes {
    busy: Arc<Mutex<HashMap<Lane, Queue>>>,
}

impl Lanes {
    /// Runs `effect` after all earlier effects of its lane.
    pub(super) fn push(&self, lane: Lane, effect: BoxFuture<'static, ()>) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = busy.get_mut(&lane) {
            queue.push_back(effect);
            return;
        }
        busy.insert(lane, VecDeque::new());
        drop(busy);
        let lanes = self.clone();
        tokio::spawn(async move { lanes.run(lane, effect).await });
    }

    async fn run(self, lane: Lane, first: BoxFuture<'static, ()>) {
        let mut next = Some(first);
        while let Some(effect) = next {
            effect.await;
            next = self.take(lane);
        }
    }

    fn take(&self, lane: Lane) -> Option<BoxFuture<'static, ()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let next = busy.get_mut(&lane)?.pop_front();
        if next.is_none() {
            busy.remove(&lane);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test]
    async fn a_lane_keeps_its_order_and_holds_up_nobody_else() {
        let lanes = Lanes::default();
        let (seen, mut order) = mpsc::unbounded_channel();
        let (open, gate) = oneshot::channel::<()>();
        let slow = Lane::Instance(InstanceId(1));
        let say = |word: &'static str| {
            let seen = seen.clone();
            Box::pin(async move { seen.send(word).unwrap() }) as BoxFuture<'static, ()>
        };
        lanes.push(slow, Box::pin(async move { gate.await.unwrap() }));
        lanes.push(slow, say("slow first"));
        lanes.push(slow, say("slow second"));
        lanes.push(Lane::Instance(InstanceId(2)), say("other"));
        assert_eq!(order.recv().await, Some("other"));
        open.send(()).unwrap();
        assert_eq!(order.recv().await, Some("slow first"));
        assert_eq!(order.recv().await, Some("slow second"));
    }
}
