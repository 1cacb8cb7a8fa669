//! How many files and sockets this process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as this process may, and says so where that changes it. Most systems begin with one that is
/// low for the sake of programs that handle no large numbers of descriptors.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    if before.current == before.maximum {
        return;
    }
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(
            name: "server.open_files_not_raised",
            %error, limit = limit(), "the limit of open files cannot be raised"
        );
        return;
    }
    let was = before.current.unwrap_or(u64::MAX);
    tracing::info!(
        name: "server.open_files_raised",
        was, is = limit(), "raised the limit of open files"
    );
}

/// How many there may be; the largest number where there is no limit.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
