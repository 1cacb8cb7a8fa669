//! MariaDB servers that tests start: one for all of them, and others that are stopped and started
//! again. They end with the process.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectOptions, Database};

use super::eventually;

/// The first of them, and how many: below those of `ip_local_port_range`.
const PORTS: (u32, u32) = (20_000, 12_000);

/// Starts MariaDB once for this process.
pub fn spawned() -> &'static str {
    static SERVER: OnceLock<DatabaseServer> = OnceLock::new();
    SERVER.get_or_init(DatabaseServer::start).url()
}

/// A MariaDB server of this process. It ends with the process, even a killed one.
pub struct DatabaseServer {
    url: String,
    #[allow(dead_code)]
    pid: Arc<AtomicU32>,
    orders: mpsc::Sender<Order>,
}

enum Order {
    /// Ends it by a signal, and says when it has ended.
    End(Signal, mpsc::Sender<()>),
    Start,
}

impl DatabaseServer {
    /// Starts one with data of its own.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with options of its own.
    pub fn start_with(options: &[String]) -> Self {
        let options = options.to_vec();
        let (orders, ordered) = mpsc::channel();
        let (sender, receiver) = mpsc::channel();
        let pid = Arc::new(AtomicU32::new(0));
        let its_pid = pid.clone();
        thread::spawn(move || {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let port = free_port();
            install(directory.path());
            // `setpriv` has the kernel end the server with the thread that started it, so
            // this thread stays.
            let mut server = run(directory.path(), port, &options);
            its_pid.store(server.id(), Ordering::Relaxed);
            sender.send(port).expect("the test waits for the port");
            for order in ordered {
                match order {
                    Order::End(signal, ended) => {
                        let sent = kill_process(Pid::from_child(&server), signal);
                        sent.expect("the server can be signalled");
                        server.wait().expect("the server ends");
                        let _ = ended.send(());
                    }
                    Order::Start => {
                        server = run(directory.path(), port, &options);
                        its_pid.store(server.id(), Ordering::Relaxed);
                    }
                }
            }
            let _ = server.kill();
            let _ = server.wait();
        });
        let port = receiver
            .recv()
            .expect("MariaDB could be started; `make setup` installs it");
        Self {
            url: format!("mysql://root@127.0.0.1:{port}"),
            pid,
            orders,
        }
    }

    /// Its root URL, without a database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Of its process, now.
    #[allow(dead_code)] // For benchmarks.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Ends it, and waits until it has ended.
    pub fn end(&self, signal: Signal) {
        let (sender, ended) = mpsc::channel();
        self.order(Order::End(signal, sender));
        ended.recv().expect("the server ended");
    }

    /// Starts it on the data that it left.
    pub fn start_again(&self) {
        self.order(Order::Start);
    }

    pub async fn answers(&self) {
        let mut options = ConnectOptions::new(&self.url);
        options.max_connections(1).sqlx_logging(false);
        eventually("the database server answers", async || {
            Database::connect(options.clone()).await.ok()
        })
        .await;
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("its thread stays");
    }
}

fn log(directory: &Path, name: &str) -> std::fs::File {
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).append(true).open(directory.join(name));
    file.expect("a log file can be made")
}

fn install(directory: &Path) {
    let data = directory.join("data");
    let installed = command("mariadb-install-db", directory)
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])
        .arg(format!("--datadir={}", data.display()))
        .args(as_root())
        .stdout(log(directory, "install.log"))
        .stderr(log(directory, "install.log"))
        .status()
        .expect("mariadb-install-db is installed; `make setup` does that");
    let said = || std::fs::read_to_string(directory.join("install.log"));
    assert!(
        installed.success(),
        "mariadb-install-db failed: {}",
        said().unwrap_or_default()
    );
}

fn run(directory: &Path, port: u16, options: &[String]) -> Child {
    let data = directory.join("data");
    command("setpriv", directory)
        .args([
            "--pdeathsig",
            "TERM",
            "mariadbd",
            "--no-defaults",
            "--skip-log-bin",
        ])
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", directory.join("socket").display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--max-connections=1000"])
        .args(options)
        .args(as_root())
        .stdout(Stdio::null())
        .stderr(log(directory, "server.log"))
        .spawn()
        .expect("mariadbd is installed; `make setup` does that")
}

/// Debian keeps mariadbd where not every user looks. A server that starts removes what it takes for
/// an earlier one's temporary tables: each has a directory of its own for them.
fn command(program: &str, temporary: &Path) -> Command {
    let path = std::env::vars()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path);
    let mut command = Command::new(program);
    command.env("TMPDIR", temporary).env(
        "PATH",
        format!("{}:/usr/local/sbin:/usr/sbin", path.unwrap_or_default()),
    );
    command
}

/// mariadbd refuses to run as root unless told to.
fn as_root() -> Option<&'static str> {
    let root = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata("/proc/self").expect("the kernel tells of this process"),
    ) == 0;
    root.then_some("--user=root")
}

/// Not one that the kernel gives to who connects: the server may be started again on it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(31);
    let free = |_| {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.0 + number % PORTS.1).ok()?;
        TcpListener::bind(("127.0.0.1", port))
            .is_ok()
            .then_some(port)
    };
    (0..PORTS.1)
        .find_map(free)
        .expect("loopback has a free port")
}
