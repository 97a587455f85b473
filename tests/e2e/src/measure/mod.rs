//! What benchmarks share: medians and tails, and what the kernel says of a process.

pub mod procfs;
pub mod stats;
