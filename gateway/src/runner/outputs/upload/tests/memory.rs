//! What an upload holds in memory, whatever the length of its file.

use super::*;

/// Says in its environment how large a file the measured process uploads, MiB.
const SIZE: &str = "UPLOAD_MIB";
/// A file of that length is many times what may be held.
const SIZE_MIB: u64 = 384;
/// What may be held, MiB; a part is one, three are on their way, the server is in the same process.
const HELD_MIB: u64 = 48;

/// Most memory this process ever had resident, MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Measured in a process of its own: other tests hold what they like.
#[tokio::test]
async fn the_memory_of_an_upload_does_not_grow_with_its_file() {
    let Some(mib) = std::env::var(SIZE).ok().map(|text| text.parse::<u64>().unwrap()) else {
        let name =
            "runner::outputs::upload::tests::memory::the_memory_of_an_upload_does_not_grow_with_its_file";
        let mut alone = tokio::process::Command::new(std::env::current_exe().unwrap());
        let alone = alone.args(["--exact", name, "--nocapture"]).env(SIZE, SIZE_MIB.to_string());
        let told = alone.output().await.unwrap();
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(
            told.status.success() && text.contains("1 passed"),
            "{text}\n{}",
            String::from_utf8_lossy(&told.stderr)
        );
        return;
    };
    let world = World::start("").await;
    world.cos.forget_bytes();
    world.put(&bytes(4 * MIB)).await.unwrap();
    let before = peak();
    let path = world.folder.path().join("large");
    std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
    put(world.means(), &world.ticket().await, &path, mib << 20).await.unwrap();
    assert_eq!(world.cos.object(&format!("cell-1/{KEY}")).unwrap().size_bytes, mib << 20);
    let unknown = futures_util::TryStreamExt::map_err(
        tokio_util::io::ReaderStream::with_capacity(tokio::fs::File::open(&path).await.unwrap(), 64 << 10),
        |error| error,
    );
    let sent = super::stream(world.means(), &world.ticket().await, unknown, None).await.unwrap();
    assert_eq!(sent, mib << 20);
    let grown = peak() - before;
    println!("{mib} MiB uploaded twice; resident memory grew by {grown} MiB from {before} MiB");
    assert!(grown < HELD_MIB, "{grown} MiB");
}
