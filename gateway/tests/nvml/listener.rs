//! From a port to the process that listens on it.

use std::fs;
use std::net::TcpListener;

use gateway::runner::nvml::{listening_pid, listening_pid_under};
use tempfile::TempDir;

#[test]
fn a_listener_on_loopback_is_found_by_its_port() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listening_pid(port).unwrap(), Some(std::process::id()), "{address}");
    }
}

#[test]
fn a_port_that_nobody_listens_on_has_no_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_eq!(listening_pid(port).unwrap(), None);
}

#[test]
fn of_a_parent_and_its_child_the_parent_is_meant() {
    let proc = TempDir::new().unwrap();
    fs::create_dir(proc.path().join("net")).unwrap();
    let head =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let row = |address: &str, state: &str, inode: u32| {
        format!(
            "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0        0 {inode} 1\n"
        )
    };
    let table = [
        head.to_owned(),
        row("0100007F:1FFC", "0A", 11),
        row("0100007F:1FFC", "01", 12),
        row("0A00000A:1FFC", "0A", 13),
    ];
    fs::write(proc.path().join("net/tcp"), table.concat()).unwrap();
    for (pid, inode) in [(300, 11), (200, 11), (100, 12), (90, 13)] {
        let open = proc.path().join(format!("{pid}/fd"));
        fs::create_dir_all(&open).unwrap();
        std::os::unix::fs::symlink(format!("socket:[{inode}]"), open.join("3")).unwrap();
    }
    assert_eq!(listening_pid_under(proc.path(), 8188).unwrap(), Some(200));
    assert_eq!(listening_pid_under(proc.path(), 8189).unwrap(), None);
    assert!(listening_pid_under(&proc.path().join("none"), 8188).is_err());
}
