//! Stories of single jobs and small fleets. The names are the promises; `world` is the stage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod admission;
mod ending;
mod faults;
mod life;
mod placing;
mod preempting;
mod repeats;
mod restart;
mod world;
