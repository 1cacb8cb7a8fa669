//! The reference of reads: a plain poem handler that returns the same bytes, in a process of
//! its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, EndpointExt, Response, Route, Server};

/// The argument that makes this program that process.
pub const ARGUMENT: &str = "plain-server";

/// Serves this body, and says where.
#[allow(clippy::print_stdout)]
pub async fn serve(body: String) {
    let hello = poem::endpoint::make_sync(move |_| {
        Response::builder()
            .content_type("application/json; charset=utf-8")
            .body(body.clone())
    });
    let routes = Route::new().at("/api/token", hello.map_to_response());
    let bound = TcpListener::bind("127.0.0.1:0").into_acceptor().await;
    let acceptor = bound.expect("loopback has a free port");
    let address = acceptor.local_addr();
    let address = address
        .first()
        .and_then(|at| at.0.as_socket_addr().copied());
    println!("{}", address.expect("a bound socket has an address"));
    let served = Server::new_with_acceptor(acceptor).run(boxed(routes)).await;
    served.expect("it serves");
}

fn boxed(endpoint: impl Endpoint + 'static) -> impl Endpoint {
    endpoint
}

pub struct Plain {
    child: Child,
    pub address: SocketAddr,
}

impl Plain {
    pub fn start(body: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .args([ARGUMENT, body])
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it serves");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
