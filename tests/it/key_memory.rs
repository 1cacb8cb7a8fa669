//! How often the sealing keys are in a server's memory, and whether that may be swapped out.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::geteuid;

use crate::kit::process::ServerProcess;
use crate::kit::{Provider, TestDatabase};

/// How often some bytes are in what a process may write to: its heap, its stacks, its data.
fn copies(pid: u32, wanted: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives");
    let mut memory = File::open(format!("/proc/{pid}/mem")).expect("root reads it");
    let mut count = 0;
    for line in maps.lines() {
        let mut parts = line.split_whitespace();
        let range = parts.next().unwrap_or_default();
        let writable = parts.next().is_some_and(|mode| mode.starts_with("rw"));
        let Some((from, to)) = range.split_once('-').filter(|_| writable) else {
            continue;
        };
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (from, to) = (address(from), address(to));
        let mut bytes = vec![0; usize::try_from(to - from).expect("it fits")];
        let read = memory
            .seek(SeekFrom::Start(from))
            .and_then(|_| memory.read_exact(&mut bytes));
        // Some of them, such as what the kernel keeps there, cannot be read.
        if read.is_ok() {
            count += copies_in(&bytes, wanted);
        }
    }
    count
}

/// Most of what an allocator has taken was never written to: it is passed over page by page.
fn copies_in(bytes: &[u8], wanted: &[u8]) -> usize {
    const PAGE: usize = 4096;
    let pages = bytes.chunks(PAGE).enumerate();
    let written = pages.filter(|(_, page)| *page != &[0; PAGE][..page.len()]);
    let copies = written.map(|(number, page)| {
        let from = number * PAGE;
        let to = bytes.len().min(from + page.len() + wanted.len() - 1);
        let parts = bytes[from..to].windows(wanted.len());
        parts
            .filter(|part| part[0] == wanted[0] && *part == wanted)
            .count()
    });
    copies.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sealing_keys_of_a_file_are_once_in_memory_and_locked_there() {
    if !geteuid().is_root() {
        // Nobody else reads a server's memory: see private_files.
        return;
    }
    let database = TestDatabase::sqlite();
    let mut byte = 0_u8;
    let key: [u8; 32] = std::array::from_fn(|_| {
        byte = byte.wrapping_add(37);
        0xA0 ^ byte
    });
    let text = STANDARD.encode(key);
    let file = tempfile::tempdir().expect("a folder");
    let path = file.path().join("keys");
    fs::write(&path, format!("k1:{text}\n")).expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).expect("its mode is set");
    let file = path.display().to_string();
    for (name, value) in [
        ("TOKEN_SERVER__SEALING__KEYS_FILE", file),
        (
            "TOKEN_SERVER__SEALING__COMMAND",
            format!(r#"["/bin/cat", "{}"]"#, path.display()),
        ),
    ] {
        let env = [
            (name, value),
            ("TOKEN_SERVER__SEALING__KEYS", String::new()),
        ];
        let server = ServerProcess::start(&database, &env);
        let provider = Provider::start().await;
        server.client.register(&provider.url("/token")).await;
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
        let status = status.expect("the process lives");
        let locked = status.lines().find(|line| line.starts_with("VmLck:"));
        let locked = locked.and_then(|line| line.split_whitespace().nth(1));
        assert_ne!(locked, Some("0"), "no memory is locked");
        assert_eq!(copies(server.pid(), text.as_bytes()), 0, "as text, {name}");
        assert_eq!(copies(server.pid(), &key), 1, "as it is, {name}");
    }
}
