//! Mark 1: what a read costs beside a handler that does nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::Size;
use crate::cost::cpu_seconds;
use crate::kit::TestDatabase;
use crate::load::{self, Connecting, Load, token_request};
use crate::plain::Plain;
use crate::report::{Mark, Report, Runs};
use crate::world::{self, Provider, key_name, realm_name};

/// So many make up the time of one run, and the sides take turns with them: how fast the
/// machine is changes within seconds. Of latency each is a figure by itself: whoever else is on
/// the machine then spoils one of them and not all.
const SLICES: usize = 5;

/// What the slices of one run have come to.
#[derive(Default)]
struct Flood {
    cpu_seconds: f64,
    answered: u64,
    seconds: f64,
}

/// One side of a comparison.
struct Side {
    pid: u32,
    /// For one slice.
    load: Load,
    flood: Flood,
    cost: Runs,
    rate: Runs,
    latency: Runs,
    errors: u64,
}

impl Side {
    fn new(pid: u32, load: Load) -> Self {
        Self {
            pid,
            load,
            flood: Flood::default(),
            cost: Runs::default(),
            rate: Runs::default(),
            latency: Runs::default(),
            errors: 0,
        }
    }

    /// As fast as it goes.
    async fn flood(&mut self) {
        let before = cpu_seconds(self.pid);
        let seen = load::run(&self.load).await;
        self.flood.cpu_seconds += cpu_seconds(self.pid) - before;
        self.flood.answered += seen.answered;
        self.flood.seconds += seen.seconds;
        self.errors += seen.errors;
    }

    fn end_run(&mut self) {
        let flood = std::mem::take(&mut self.flood);
        let answered = flood.answered as f64;
        self.cost.push(flood.cpu_seconds * 1e6 / answered);
        self.rate.push(answered / flood.seconds);
    }

    async fn at_rate(&mut self, rate: f64) {
        let load = Load {
            rate: Some(rate),
            ..self.load.clone()
        };
        let mut seen = load::run(&load).await;
        self.latency.push(seen.percentile(0.99));
        self.errors += seen.errors;
    }
}

pub async fn measure(size: &Size, report: &mut Report) {
    let database = TestDatabase::sqlite();
    let provider = Provider::start(Duration::ZERO, 7200).await;
    let server = world::server(&database, "a", &[]);
    world::register(&database, &server.client, &provider.url(), 1, 1).await;
    let key = world::reading_key(&server.client).await;
    let (realm, name) = (realm_name(0), key_name(0));
    let answer = server.client.with_key(&key).token(&realm, &name).await;
    let body = answer.expect(200).text;
    let (plain, again) = (Plain::start(&body), Plain::start(&body));
    let length = body.len();
    let load_of = |address| Load {
        address,
        connecting: Connecting::Plain,
        requests: Arc::from([token_request(&realm, &name, &key)]),
        connections: size.connections,
        duration: size.one_run / u32::try_from(SLICES).expect("a small number"),
        rate: None,
        // The life that is left may be a digit shorter.
        check: Arc::new(move |answer| answer.body.len().abs_diff(length) <= 1),
    };
    let mut ours = Side::new(server.pid(), load_of(server.address));
    let mut theirs = Side::new(plain.pid(), load_of(plain.address));
    let mut same = Side::new(again.pid(), load_of(again.address));
    for _ in 0..size.runs {
        for _ in 0..SLICES {
            for side in [&mut ours, &mut theirs, &mut same] {
                side.flood().await;
            }
        }
        for side in [&mut ours, &mut theirs, &mut same] {
            side.end_run();
        }
    }
    let half = theirs.rate.median() / 2.0;
    for _ in 0..size.runs * SLICES {
        for side in [&mut ours, &mut theirs, &mut same] {
            side.at_rate(half).await;
        }
    }
    let mut compare = |what: &str, of: fn(&Side) -> &Runs, mark: Mark| {
        let beside = of(&same).over(of(&theirs));
        report.compare(1, what, of(&ours).over(of(&theirs)), beside, mark);
    };
    let cost = "CPU of a read, over a plain handler's";
    compare(cost, |side| &side.cost, Mark::AtMost(1.15));
    let rate = "reads a second, over the plain handler's";
    compare(rate, |side| &side.rate, Mark::AtLeast(0.9));
    let latency = "p99 at half the plain handler's rate, over its";
    compare(latency, |side| &side.latency, Mark::AtMost(1.3));
    for (what, figures) in [
        ("CPU of a read, µs", &ours.cost),
        ("CPU of the plain handler, µs", &theirs.cost),
        ("reads a second", &ours.rate),
    ] {
        report.add(1, what, figures.clone(), Mark::Shown);
    }
    let errors = ours.errors + theirs.errors + same.errors;
    report.one(1, "errors", errors as f64, Mark::AtMost(0.0));
}
