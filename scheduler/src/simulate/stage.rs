//! The world stepped from outside: for whoever brings a clock and decisions of their own, such as a test that runs a
//! whole gateway against it.

use super::desk::Desk;
use super::policy::Event;
use super::replay::Replay;
use super::scenario::Scenario;
use super::world::World;

/// One play of a scenario, step by step. [`super::replay()`] is the same with a policy that answers at once.
#[derive(Debug)]
pub struct Stage<'s> {
    world: World<'s>,
}

impl<'s> Stage<'s> {
    /// Before the first event.
    #[must_use]
    pub fn new(scenario: &'s Scenario) -> Self {
        Self { world: World::new(scenario) }
    }

    /// When the next thing happens by itself, ms; it may turn out to be nothing that anybody hears of. `None`: every job
    /// has ended, or nothing is left that could happen unless somebody acts.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        self.world.next_ms()
    }

    /// Whether every job has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.world.is_over()
    }

    /// Lets the next thing happen: what is to be heard of it, if anything. `None`: there is nothing more to happen.
    pub fn step(&mut self) -> Option<Option<Event>> {
        self.world.step()
    }

    /// The hands of whoever decides, at the time of the last step.
    pub fn desk(&mut self) -> Desk<'_, 's> {
        Desk::new(&mut self.world)
    }

    /// The hands of whoever decides between two steps. Time goes on to `now_ms`; never back, and never past
    /// [`Stage::next_ms`].
    pub fn desk_at(&mut self, now_ms: i64) -> Desk<'_, 's> {
        self.world.pass_to(now_ms);
        Desk::new(&mut self.world)
    }

    /// Closes the books.
    #[must_use]
    pub fn close(self) -> Replay {
        self.world.close()
    }
}
