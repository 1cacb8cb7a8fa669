//! Commands whose standard error is a terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

/// What came of a command.
pub struct Ended {
    pub status: ExitStatus,
    pub on_terminal: String,
    /// Less than a pipe holds.
    pub stdout: Vec<u8>,
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ended {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let ours = openpt(flags).expect("there are pseudo-terminals");
    grantpt(&ours).expect("it can be given to us");
    unlockpt(&ours).expect("it can be unlocked");
    let theirs = ioctl_tiocgptpeer(&ours, flags).expect("it has another end");
    command.stdout(Stdio::piped()).stderr(theirs);
    let child = command.spawn().expect("the binary starts");
    // The terminal ends when nobody holds its other end.
    drop(command);
    let mut sent = Vec::new();
    let _ = File::from(ours).read_to_end(&mut sent);
    let ended = child.wait_with_output().expect("the command ends");
    Ended {
        status: ended.status,
        on_terminal: String::from_utf8(sent).expect("a text"),
        stdout: ended.stdout,
    }
}

/// Whether a bar was shown.
pub fn has_bar(sent: &str) -> bool {
    sent.contains(['█', '░'])
}
