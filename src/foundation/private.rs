//! What only the server's user may read: its files, its directories, its memory.

use std::fs::{DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, StatVfsMountFlags, statvfs};
use rustix::process::{Resource, Rlimit, geteuid, setrlimit, umask};

use super::file_system::Passing;

const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o600;
/// What a mode grants to the group and to every other user.
const TO_OTHERS: u32 = 0o077;
/// Reading and writing, by users who are neither the owner nor of the group.
const TO_ANYBODY: u32 = 0o006;
/// Writing to a directory, by the same.
const WRITABLE_BY_ANYBODY: u32 = 0o002;

/// Keeps this process to its user: what it makes, by whatever library, and what it holds in
/// memory. Call it before there is a thread, a file or a secret.
///
/// # Errors
/// Where the system does not let core files and debuggers be refused; files are kept private
/// nevertheless.
pub fn begin() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let no_core = setrlimit(Resource::Core, none);
    // Whatever became of the first.
    #[cfg(target_os = "linux")]
    let no_core = no_core.and({
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
    });
    Ok(no_core?)
}

/// Makes a directory, and those above it that are missing. One that is there stays as it is.
///
/// # Errors
/// Where it cannot be made, or a file of that name is there.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY)
        .create(path)
}

/// Options to make a file with.
pub fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE);
    options
}

/// A file that holds a key, and that any user of the machine can read or change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenToAnybody {
    #[error(
        "{} holds a secret that any user of this machine can read or change (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display()
    )]
    Here { path: PathBuf, mode: u32 },
    /// What changes its mode is done elsewhere.
    #[error(
        "{} holds a secret that any user of this machine can read or change (mode {mode:04o}), and is mounted, so that its mode cannot be changed here: on Kubernetes keep it in a Secret instead of a ConfigMap, or give its volume defaultMode: 0440 and the pod an fsGroup; elsewhere run on the host: chmod 640, with the group of this server", path.display()
    )]
    Mounted { path: PathBuf, mode: u32 },
}

/// Looks at the mode of a file that holds a key. A group may read it: that is how a service is
/// given a file of somebody else's. Nor is a file in memory refused: secrets are mounted there,
/// readable within one container, and their modes are not the server's to change. What cannot be
/// looked at is told by whoever reads it.
///
/// # Errors
/// Where any user of the machine can read or change it.
pub fn check_key_file(path: &Path) -> Result<(), OpenToAnybody> {
    let Ok(found) = path.metadata() else {
        return Ok(());
    };
    let is_open = found.is_file() && found.mode() & TO_ANYBODY != 0;
    if !is_open || Passing::of(path).is_some_and(Passing::is_in_memory) {
        return Ok(());
    }
    let (path, mode) = (path.to_owned(), found.mode() & 0o7777);
    Err(match is_mounted(&path) {
        true => OpenToAnybody::Mounted { path, mode },
        false => OpenToAnybody::Here { path, mode },
    })
}

/// Whether an orchestrator put a file there: on a file system that is only read, or in a directory
/// as Kubernetes keeps its volumes.
fn is_mounted(path: &Path) -> bool {
    let found = statvfs(path);
    let is_read_only = found.is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    let of_kubernetes = path.parent().map(|directory| directory.join("..data"));
    is_read_only || of_kubernetes.is_some_and(|data| data.is_symlink())
}

/// Takes from other users what an earlier version, a copy or a mount gave them of a file.
pub fn narrow_file(path: &Path) {
    if let Some(found) = own(path).filter(Metadata::is_file) {
        narrow(path, &found, FILE);
    }
}

/// The same of a directory, where `is_known` knows all that is in it: one that is shared with
/// others is not the server's to close.
pub fn narrow_directory(path: &Path, is_known: impl Fn(&str) -> bool) {
    let Some(found) = path.metadata().ok().filter(Metadata::is_dir) else {
        return;
    };
    let known = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(&is_known))
    };
    let is_shared = || !std::fs::read_dir(path).is_ok_and(|mut entries| entries.all(known));
    if found.uid() == geteuid().as_raw() && !is_shared() {
        narrow(path, &found, DIRECTORY);
    } else if found.mode() & WRITABLE_BY_ANYBODY != 0 {
        tracing::warn!(
            name: "files.replaceable",
            path = %path.display(),
            mode = %shown(&found),
            "any user of this machine can replace what is in this directory; keep it to this server with chmod 700"
        );
    }
}

/// What belongs to this user, and is no link.
fn own(path: &Path) -> Option<Metadata> {
    let found = path.symlink_metadata().ok();
    found.filter(|found| found.uid() == geteuid().as_raw())
}

fn narrow(path: &Path, found: &Metadata, mode: u32) {
    if found.mode() & TO_OTHERS == 0 {
        return;
    }
    match std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => tracing::warn!(
            name: "files.narrowed",
            path = %path.display(),
            mode = %shown(found),
            "other users could use this; it is for the server's user only now"
        ),
        Err(error) => tracing::warn!(
            name: "files.open_to_others",
            path = %path.display(),
            mode = %shown(found),
            %error,
            "other users can use this, and that cannot be changed"
        ),
    }
}

fn shown(found: &Metadata) -> String {
    format!("{:04o}", found.mode() & 0o7777)
}
