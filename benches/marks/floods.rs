//! Mark 12: renewals, readers and the database while callers without a key flood the server. The
//! server runs on one core, the flood on another.

use std::time::Duration;

use serde_json::json;
use tokio::task::block_in_place;
use tokio::time::{interval, sleep};

use crate::Size;
use crate::alone::on_core;
use crate::flood::{Flood, FloodSize};
use crate::kit::TestDatabase;
use crate::kit::process::ServerProcess;
use crate::report::{Mark, Report, Runs};
use crate::traffic::{Side, Traffic};
use crate::world;

/// So many tokens become due at once, and so often: 300 a second.
const DUE_AT_ONCE: i64 = 30;
/// Entries of the audit take so much at most, with their indexes.
const ENTRY_BYTES: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

struct World {
    database: TestDatabase,
    server: ServerProcess,
    traffic: Traffic,
}

impl World {
    async fn start(size: &Size) -> Self {
        let database = TestDatabase::sqlite();
        // As it is by default; the kit's other tests call as often as they like.
        let rate = [("TOKEN_SERVER__ACCESS__ADDRESS_RATE", "50".to_owned())];
        let server = on_core(0, || world::server(&database, "a", &rate));
        let traffic = Traffic::of(&server, &database, size, DUE_AT_ONCE).await;
        let (client, url) = (&server.client, traffic.provider.url());
        let tickets = json!({
            "params": {"app": {"title": "a"}, "verification": {"title": "t"}, "aes": {"title": "k"}},
            "url": url, "method": "POST",
            "arguments": [{"name": "ticket", "place": "body", "value": "$ticket"}],
            "ticket": {
                "format": "wechat_xml", "app_id": "$app", "token": "$verification",
                "aes_key": "$aes", "valid_s": 1800,
            },
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        client.save_realm("tickets", tickets).await;
        let secret = json!({"realm": "tickets", "key": "k", "params": {
            "app": "the-app", "verification": "the-token",
            "aes": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
        }});
        client.post("/api/secret", &secret).await.expect(200);
        Self {
            database,
            server,
            traffic,
        }
    }

    async fn measure(&mut self, side: &mut Side) {
        let traffic = &mut self.traffic;
        traffic.measure(&self.server, &self.database, side).await;
    }

    fn flood(&self, size: FloodSize) -> Flood {
        on_core(1, || Flood::start(self.server.address, size))
    }

    /// Waits until the sockets of a flood are gone.
    async fn is_calm(&self) {
        let mut pace = interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let page = self.server.client.get("/metrics").await.expect(200).text;
            let mut lines = page.lines();
            let open = lines.find_map(|line| line.strip_prefix("token_server_http_connections "));
            if open.is_some_and(|open| open.parse::<usize>().is_ok_and(|open| open < 100)) {
                return;
            }
        }
    }

    /// Entries of the audit that a flood adds in a while, after its first; nothing else happens.
    async fn entries_of(&self, flood: FloodSize, first: Duration, then: Duration) -> i64 {
        let flood = self.flood(flood);
        sleep(first).await;
        let entries = "SELECT COUNT(*) FROM ts_audit";
        let before = self.database.number(entries).await;
        sleep(then).await;
        let after = self.database.number(entries).await;
        block_in_place(|| flood.end());
        after - before
    }
}

pub async fn measure(size: &Size, report: &mut Report) {
    let mut world = World::start(size).await;
    let flood = FloodSize {
        sockets: size.sockets,
        denied_a_second: size.denied,
        pushers: 6,
    };
    let [mut calm, mut again, mut flooded] = [Side::default(), Side::default(), Side::default()];
    let [mut open, mut denied, mut pushed] = [Runs::default(), Runs::default(), Runs::default()];
    for _ in 0..size.runs {
        world.measure(&mut calm).await;
        let started = world.flood(flood);
        open.push(started.open);
        world.measure(&mut flooded).await;
        let ended = block_in_place(|| started.end());
        denied.push(ended.denied_a_second);
        pushed.push(ended.pushes_a_second);
        world.is_calm().await;
        world.measure(&mut again).await;
    }
    let entries = world
        .entries_of(flood, size.flooded / 2, size.flooded)
        .await;
    let an_hour = entries as f64 * 3600.0 / size.flooded.as_secs_f64();
    let what = "renewals a second beside floods without a key, over calm";
    report.compare(
        12,
        what,
        flooded.renewals.over(&calm.renewals),
        again.renewals.over(&calm.renewals),
        Mark::AtLeast(0.95),
    );
    report.compare(
        12,
        "readers' p99 beside them, over calm",
        flooded.p99.over(&calm.p99),
        again.p99.over(&calm.p99),
        Mark::AtMost(2.0),
    );
    let growth = an_hour * ENTRY_BYTES / MIB;
    report.one(
        12,
        "database growth, MiB an hour",
        growth,
        Mark::AtMost(1.0),
    );
    for (what, figures) in [
        ("renewals a second beside them", flooded.renewals),
        ("readers' p99 while it is calm, ms", calm.p99),
        ("readers' p99 beside them, ms", flooded.p99),
        ("half-open sockets", open),
        ("denied calls a second", denied),
        ("pushes a second that nobody signed", pushed),
    ] {
        report.add(12, what, figures, Mark::Shown);
    }
    let errors = calm.errors + again.errors + flooded.errors;
    report.one(12, "errors of readers", errors as f64, Mark::AtMost(0.0));
}
