//! The engine: one task that owns the scheduler. Wait, decide, commit, act (DESIGN §4, STYLE §5).

pub mod board;
pub mod fleet;
pub mod handle;

pub use board::{Board, LiveState, Watch};
pub use fleet::{FleetView, HostView, InstanceView};
pub use handle::{EngineHandle, Readiness, SubmitError, Unavailable};
