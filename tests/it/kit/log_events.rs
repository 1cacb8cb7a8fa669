//! Notes which events of the log the tests see, of servers within the test's process and of those
//! beside it, in the file that `TEST_LOG_EVENTS` names.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex, Once};

use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

struct Noted {
    names: BTreeSet<String>,
    file: File,
}

static NOTED: LazyLock<Option<Mutex<Noted>>> = LazyLock::new(|| {
    let path = std::env::vars()
        .find(|(name, _)| name == "TEST_LOG_EVENTS")?
        .1;
    let file = OpenOptions::new().create(true).append(true).open(path);
    Some(Mutex::new(Noted {
        names: BTreeSet::new(),
        file: file.expect("the file of TEST_LOG_EVENTS can be written"),
    }))
});

/// Notes what servers within this process log, from now on.
pub fn note_own() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        if NOTED.is_some() {
            let layers = Registry::default().with(tracing::level_filters::LevelFilter::INFO);
            // A test that logs in another way does so in a process of its own.
            let _ = layers.with(Noting).try_init();
        }
    });
}

/// Notes the event of a line that a server beside has logged.
pub fn note_line(line: &str) {
    if NOTED.is_some()
        && let Ok(line) = serde_json::from_str::<Value>(line)
        && let Some(name) = line["event"].as_str()
    {
        note(name);
    }
}

/// Events of libraries have no name but their place.
fn note(name: &str) {
    let Some(noted) = &*NOTED else { return };
    if name.starts_with("event ") {
        return;
    }
    let mut noted = noted.lock().expect("no test panics here");
    if noted.names.insert(name.to_owned()) {
        writeln!(noted.file, "{name}").expect("the file can be written");
    }
}

struct Noting;

impl<S: Subscriber> Layer<S> for Noting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        note(event.metadata().name());
    }
}
