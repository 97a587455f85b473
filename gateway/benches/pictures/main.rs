//! One original made into a stripped, labelled PNG, a WebP and a thumbnail, again and again on one thread.
//!
//! `pictures <original> <folder> <times>` leaves the files in the folder and prints one line of JSON: milliseconds of
//! wall time and of processor time of every repetition, and the sizes. `tests/peers/pictures` runs it beside its peers.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use gateway::pictures::{Facts, Limits, Made, Policy, ProduceId, Role, plan, produce};
use serde_json::json;

const POLICY: &str = r#"{
    "metadata": "strip",
    "format": {"type": "png"},
    "variants": [
        {"name": "webp", "format": {"type": "webp", "quality": 80}},
        {"name": "thumb", "max_edge": 256, "format": {"type": "webp", "quality": 80}}
    ],
    "label": {"content_producer": "001191310000MA1FL0000X00000"}
}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [original, folder, times] = args.as_slice() else {
        eprintln!(
            "usage: pictures <original> <folder> <times>; `make bench-pictures` runs it beside its peers"
        );
        return Ok(());
    };
    let (original, folder, times) =
        (Bytes::from(std::fs::read(original)?), PathBuf::from(folder), times.parse()?);
    let policy: Policy = serde_json::from_str(POLICY)?;
    let (mut wall, mut cpu, mut made) = (Vec::new(), Vec::new(), once(&original, &policy)?);
    for _ in 0..times {
        let (began, ran) = (Instant::now(), thread_seconds()?);
        made = once(&original, &policy)?;
        wall.push(began.elapsed().as_secs_f64() * 1000.0);
        cpu.push((thread_seconds()? - ran) * 1000.0);
    }
    let sizes = keep(&made, &folder)?;
    println!("{}", json!({"wall_ms": wall, "cpu_ms": cpu, "bytes": sizes}));
    Ok(())
}

/// Everything from the original's bytes to files that were read back.
fn once(original: &Bytes, policy: &Policy) -> Result<Made, Box<dyn Error>> {
    let limits = Limits::default();
    let facts = Facts::read(original, "image/png", &limits)?;
    let id = ProduceId::new("job-0190f3c2-7d6e-7c11-9a51-3f2b8c1d2e4f-0").ok_or("the id")?;
    Ok(produce(original, &plan(&facts, policy)?, &limits, &id)?)
}

/// Writes the files and tells their sizes.
fn keep(made: &Made, folder: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut sizes = serde_json::Map::new();
    for picture in &made.pictures {
        let (name, extension) = match &picture.role {
            Role::Primary => ("png", "png"),
            Role::Variant(name) => (name.as_str(), "webp"),
        };
        std::fs::write(folder.join(format!("{name}.{extension}")), &picture.bytes)?;
        sizes.insert(name.to_owned(), picture.bytes.len().into());
    }
    Ok(sizes.into())
}

/// Seconds that this thread has been on a processor.
fn thread_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = stat.split(' ').next().ok_or("schedstat")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}
