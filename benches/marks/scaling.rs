//! Mark 10: what a second replica on a second core brings, beside what a second nginx brings.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::block_in_place;

use crate::Size;
use crate::alone::{Alone, Way, on_core};
use crate::kit::TestDatabase;
use crate::kit::database_server::DatabaseServer;
use crate::load::token_request;
use crate::nginx::Nginx;
use crate::report::{Mark, Report, Runs};
use crate::world::{self, Provider, key_name, realm_name};

/// Two of a kind, on a core each.
struct Pair {
    addresses: [SocketAddr; 2],
    request: Vec<u8>,
    one: Runs,
    both: Runs,
    errors: f64,
}

impl Pair {
    fn new(addresses: [SocketAddr; 2], request: Vec<u8>) -> Self {
        Self {
            addresses,
            request,
            one: Runs::default(),
            both: Runs::default(),
            errors: 0.0,
        }
    }

    /// Requests a second of the first so many, each loaded from its own core.
    fn load(&mut self, count: usize, connections: usize, time: Duration) -> f64 {
        let start = |(core, address)| {
            on_core(core, || {
                Alone::start(address, &self.request, &Way::Plain, (connections, time))
            })
        };
        let addresses = self.addresses.into_iter().take(count).enumerate();
        let loads: Vec<Alone> = addresses.map(start).collect();
        let mut rate = 0.0;
        for load in loads {
            let (of_one, errors) = block_in_place(|| load.ends());
            rate += of_one;
            self.errors += errors;
        }
        rate
    }

    fn measure(&mut self, connections: usize, time: Duration) {
        let one = self.load(1, connections, time);
        self.one.push(one);
        let both = self.load(2, connections, time);
        self.both.push(both);
    }
}

pub async fn measure(size: &Size, report: &mut Report) {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let provider = Provider::start(Duration::ZERO, 7200).await;
    let names = ["a", "b"];
    let replicas = [0, 1].map(|core| on_core(core, || world::server(&database, names[core], &[])));
    let client = &replicas[0].client;
    world::register(&database, client, &provider.url(), 1, 1).await;
    let key = world::reading_key(client).await;
    let (realm, name) = (realm_name(0), key_name(0));
    let answer = client.with_key(&key).token(&realm, &name).await;
    let body = answer.expect(200).text;
    let nginxes = [0, 1].map(|core| on_core(core, || Nginx::start(&body)));

    let request = token_request(&realm, &name, &key);
    let addresses = [replicas[0].address, replicas[1].address];
    let mut ours = Pair::new(addresses, request.clone());
    let mut theirs = Pair::new([nginxes[0].address, nginxes[1].address], request);
    // Each pair has as many connections as one alone.
    for _ in 0..size.runs {
        for pair in [&mut ours, &mut theirs] {
            pair.measure(size.connections / 2, size.one_run);
        }
    }
    let (our_scaling, their_scaling) = (ours.both.over(&ours.one), theirs.both.over(&theirs.one));
    report.add(
        10,
        "what a second replica brings, over what a second nginx brings",
        our_scaling.over(&their_scaling),
        Mark::AtLeast(0.9),
    );
    for (what, figures) in [
        (
            "reads a second of two replicas, over those of one",
            our_scaling,
        ),
        ("the same of nginx", their_scaling),
        (
            "reads a second of one replica and its load on one core",
            ours.one,
        ),
        ("the same of nginx", theirs.one),
    ] {
        report.add(10, what, figures, Mark::Shown);
    }
    report.one(10, "errors", ours.errors + theirs.errors, Mark::AtMost(0.0));
}
