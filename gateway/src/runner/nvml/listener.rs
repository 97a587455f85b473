//! Which process listens on a loopback port (Linux): the first half of the way from an instance to its device.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// Addresses that a connection to loopback reaches, as `/proc/net/tcp` and `tcp6` spell them: any and loopback.
const REACHED: [&str; 6] = [
    "00000000",
    "0100007F",
    "00000000000000000000000000000000",
    "00000000000000000000000001000000",
    "0000000000000000FFFF00000100007F",
    "0000000000000000FFFF000000000000",
];

/// The process that listens on `port` of loopback; `None` if none does, or none that we may look into.
///
/// # Errors
/// The process table cannot be read, as on systems without `/proc`.
pub fn listening_pid(port: u16) -> io::Result<Option<u32>> {
    listening_pid_under(Path::new("/proc"), port)
}

/// [`listening_pid`] in a process table of another place.
///
/// # Errors
/// The process table cannot be read.
pub fn listening_pid_under(proc: &Path, port: u16) -> io::Result<Option<u32>> {
    let mut inodes = listening_inodes(&fs::read_to_string(proc.join("net/tcp"))?, port);
    // A kernel without IPv6 has no such file.
    if let Ok(table) = fs::read_to_string(proc.join("net/tcp6")) {
        inodes.extend(listening_inodes(&table, port));
    }
    if inodes.is_empty() {
        return Ok(None);
    }
    let links: BTreeSet<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut holders = BTreeSet::new();
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some(pid) = pid
            && holds(&entry.path(), &links)
        {
            holders.insert(pid);
        }
    }
    // A child that inherited the socket is younger than the process that opened it.
    Ok(holders.first().copied())
}

fn listening_inodes(table: &str, port: u16) -> BTreeSet<u64> {
    let inode = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (address, at) = fields.nth(1)?.split_once(':')?;
        let listens = fields.nth(1)? == LISTEN;
        let here = u16::from_str_radix(at, 16).ok()? == port && REACHED.contains(&address);
        let inode = fields.nth(5)?.parse().ok()?;
        (listens && here).then_some(inode)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// Whether a process has one of these sockets open. Processes end while we look, and others are not ours to see.
fn holds(process: &Path, links: &BTreeSet<String>) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else { return false };
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| links.contains(target)))
}
