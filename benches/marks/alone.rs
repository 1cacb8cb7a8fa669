//! Load from a process of its own, which may be pinned to a core.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::load::{self, Load};

/// The argument that makes this program that process.
pub const ARGUMENT: &str = "load-alone";

/// Loads an address with the request that standard input holds, which ends with an empty line;
/// prints requests a second and errors. The size is `CONNECTIONS/MILLISECONDS`.
pub async fn load(address: &str, size: &str) {
    let (connections, ms) = size.split_once('/').expect("two numbers");
    let mut request = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input can be read");
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    let seen = load::run(&Load {
        address: address.parse().expect("an address"),
        requests: Arc::from([request]),
        connections: connections.parse().expect("a number"),
        duration: Duration::from_millis(ms.parse().expect("a number")),
        rate: None,
        check: Arc::new(|_| true),
    })
    .await;
    println!("{} {}", seen.per_second(), seen.errors);
}

pub struct Alone(Child);

impl Alone {
    pub fn start(address: SocketAddr, request: &[u8], connections: usize, time: Duration) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let size = format!("{connections}/{}", time.as_millis());
        let mut child = Command::new(program)
            .args([ARGUMENT, &address.to_string(), &size])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(request).expect("it reads");
        Self(child)
    }

    /// Requests a second, and errors.
    pub fn ends(self) -> (f64, f64) {
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8(output.stdout).expect("it writes text");
        let (rate, errors) = text.trim().split_once(' ').expect("two numbers");
        let number = |text: &str| text.parse().expect("a number");
        (number(rate), number(errors))
    }
}
