//! The alerts that are shipped (docker/observability/alerts.yml): a server is brought into each
//! bad state and lives on by a clock of the test's own, scraped each minute; each alert fires in
//! its state, and none does on a server that is well.

mod prometheus;
mod watched;

use std::collections::BTreeSet;

use rustix::process::Signal;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, Ms, Timeline};
use token_server::foundation::metrics::SinkLabels;

use crate::kit::database::Kind;
use crate::kit::database_server::DatabaseServer;
use crate::kit::promtool::{Scrapes, rules, shipped_alerts};
use crate::kit::source::{read, root};
use crate::kit::{Answer, Provider, TestDatabase, on_every_database};
use crate::manifests::documents;
use watched::Watched;

const RUNBOOKS: &str = "https://token-server.example/book/how-to/monitor-and-alert.html#";

const EXPIRED: &str = "TokenServerTokenExpired";
const DYING: &str = "TokenServerTokenDying";
const ATTENTION: &str = "TokenServerNeedsAttention";
const PENDING: &str = "TokenServerPendingWithoutEnd";
const STUCK: &str = "TokenServerSweepStuck";
const AWAY: &str = "TokenServerDatabaseAway";
const CLOCK: &str = "TokenServerClockOff";
const QUOTA: &str = "TokenServerQuotaNearlySpent";
const DROPPED: &str = "TokenServerAuditDropped";
const BEHIND: &str = "TokenServerAuditSinkBehind";
const ENDS: &str = "TokenServerCertificateEnds";
const ABSENT: &str = "TokenServerAbsent";

on_every_database! {
    no_alert_fires_while_all_goes_well,
    a_token_that_nobody_renews_is_dying_and_then_expired,
    a_secret_that_the_provider_refuses_needs_attention,
    a_secret_that_never_gets_a_token_is_pending_without_end,
    a_sweep_that_hangs_is_stuck,
    a_quota_that_is_nearly_used_up_is_told_of,
    denied_calls_that_miss_the_audit_are_told_of,
    a_sink_that_takes_no_entries_of_the_audit_is_told_of,
    a_certificate_that_ends_soon_is_told_of,
}

/// So that a new rule is not forgotten here.
#[test]
fn every_alert_that_is_shipped_is_tried() {
    let tried = [
        EXPIRED, DYING, ATTENTION, PENDING, STUCK, AWAY, CLOCK, QUOTA, DROPPED, BEHIND, ENDS,
        ABSENT,
    ];
    let tried: BTreeSet<String> = tried.map(str::to_owned).into_iter().collect();
    assert_eq!(shipped_alerts(), tried);
}

#[test]
fn every_alert_leads_to_a_section_of_the_book_that_says_what_to_do() {
    let page = read(&root().join("docs/src/how-to/monitor-and-alert.md"));
    let rules = &documents(&rules())[0]["groups"][0]["rules"];
    for rule in rules.as_array().expect("a list") {
        let alert = rule["alert"].as_str().expect("a name");
        let section = page.split("\n### ").find(|section| {
            let (heading, _) = section.split_once('\n').unwrap_or_default();
            heading == alert
        });
        let section = section.unwrap_or_else(|| panic!("{alert} has no section"));
        let severity = rule["labels"]["severity"].as_str().expect("a word");
        assert!(
            section.contains(&format!("Severity: {severity}.")),
            "{alert}"
        );
        for part in ["**Meaning.**", "**Do.**"] {
            assert!(section.contains(part), "{alert} has no {part}");
        }
        let link = format!("{RUNBOOKS}{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], link);
    }
}

#[test]
fn a_server_that_nobody_can_scrape_is_absent() {
    let mut scrapes = Scrapes::begun_at(EpochMs(0));
    for _ in 0..6 {
        scrapes.add("");
    }
    scrapes.assert_firing(6, &[ABSENT]);
}

async fn no_alert_fires_while_all_goes_well(database: TestDatabase) {
    let provider = Provider::start().await;
    provider.answer_with(Answer::numbered_token(900));
    let mut watched = Watched::start(&database).await;
    let client = watched.client();
    client.register_realm("r", &provider.url("/token")).await;
    for key in ["a", "b", "c", "paused"] {
        client.save_secret("r", key).await;
        client.generation("r", key, 1).await;
    }
    client.save_secret("r", "never-and-paused").await;
    for key in ["paused", "never-and-paused"] {
        let pause = format!("/api/secret/r/{key}/pause");
        client.post(&pause, &json!({})).await.expect(200);
    }
    client.save_realm("fixed", Value::Null).await;
    let soon = watched.clock.now().plus(Ms::from_secs(300)).0;
    for secret in [
        json!({"realm": "fixed", "key": "ends", "token": "t", "expires_at": soon}),
        json!({"realm": "fixed", "key": "lasts", "token": "t"}),
        json!({"realm": "fixed", "key": "never-had-one"}),
    ] {
        client.post("/api/secret", &secret).await.expect(200);
    }
    watched.lives(40).await;
    watched.scrapes.assert_fired(&[]);
    let generation = client.secret("r", "a").await["generation"].as_i64();
    assert!(generation >= Some(3), "it was renewed: {generation:?}");
    let paused = client.secret("r", "paused").await;
    assert_eq!(paused["generation"], 1, "and this one was not");
}

async fn a_token_that_nobody_renews_is_dying_and_then_expired(database: TestDatabase) {
    let provider = Provider::start().await;
    let mut watched = Watched::start(&database).await;
    let client = watched.client();
    provider.answer_next(Answer::token("an-hour", 3600));
    provider.answer_with(Answer::status(503));
    client.register(&provider.url("/token")).await;
    watched.lives(66).await;
    let scrapes = &watched.scrapes;
    // Of an hour 15 % are nine minutes.
    scrapes.assert_firing(50, &[]);
    scrapes.assert_firing(56, &[DYING]);
    scrapes.assert_firing(66, &[EXPIRED]);
    let labels = json!({
        "realm": "r", "reason": "expired", "job": "token-server", "severity": "critical",
    });
    let words = json!({
        "runbook_url": format!("{RUNBOOKS}tokenservertokenexpired"),
        "summary": "A token of realm r has expired",
        "description": "A secret of realm r has had no valid token for 6m 0s: its callers get 503. \
            GET /api/secret?realm=r&state=expired (and state=needs_attention) lists such secrets; \
            last_error says why renewal fails.",
    });
    scrapes.assert_says(66, EXPIRED, &labels, &words);
}

fn refused() -> Answer {
    Answer::status(401).with_json(&json!({"error": "invalid_client"}))
}

async fn a_secret_that_the_provider_refuses_needs_attention(database: TestDatabase) {
    let provider = Provider::start().await;
    let mut watched = Watched::start(&database).await;
    let client = watched.client();
    client.register(&provider.url("/token")).await;
    provider.answer_with(refused());
    let flush = json!({"realm": "r", "key": "k", "generation": 1});
    watched.lives(1).await;
    client.post("/api/token/flush", &flush).await;
    client.state("r", "k", "needs_attention").await;
    watched.lives(8).await;
    watched.scrapes.assert_firing(9, &[ATTENTION]);
    // Whoever mends it ends the alert.
    provider.answer_with(Answer::numbered_token(7200));
    let mended = json!({"realm": "r", "key": "k", "key_1": "the-right-app"});
    client.post("/api/secret", &mended).await.expect(200);
    client.state("r", "k", "active").await;
    watched.lives(2).await;
    watched.scrapes.assert_firing(11, &[]);
}

async fn a_secret_that_never_gets_a_token_is_pending_without_end(database: TestDatabase) {
    let provider = Provider::start().await;
    provider.answer_with(Answer::status(503));
    let mut watched = Watched::start(&database).await;
    let client = watched.client();
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    watched.lives(14).await;
    watched.scrapes.assert_fired(&[]);
    watched.lives(6).await;
    watched.scrapes.assert_firing(20, &[PENDING]);
}

/// A transaction of somebody else that does not end. Reads of SQLite go on meanwhile.
async fn hold(database: &TestDatabase) -> DatabaseConnection {
    let connection = database.connect().await;
    let held = match database.kind() {
        Kind::Sqlite => "BEGIN IMMEDIATE",
        Kind::MySql => "LOCK TABLES ts_token WRITE",
    };
    let done = connection.execute_unprepared(held).await;
    done.expect("the statement is good");
    connection
}

async fn a_sweep_that_hangs_is_stuck(database: TestDatabase) {
    let provider = Provider::start().await;
    provider.answer_with(Answer::numbered_token(900));
    let mut watched = Watched::start(&database).await;
    let client = watched.client();
    let realm = json!({
        "url": provider.url("/token"), "method": "GET", "arguments": [],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "policy": {"renew_before_s": 450},
    });
    client.save_realm("r", realm).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    watched.lives(2).await;
    let held = hold(&database).await;
    // It is due by minute 8, no sweep can claim it, and it is not dying before minute 13. The clock
    // leaps no further than the scrapes: a sweep that had begun may still go through.
    for minute in 3..13 {
        watched.stands(1).await;
        if watched.scrapes.is_firing(minute, &[STUCK]) {
            break;
        }
    }
    let stuck = watched.scrapes.minutes();
    watched.scrapes.assert_firing(stuck, &[STUCK]);
    held.close().await.expect("the connection closes");
    watched.database_is_up().await;
    watched.lives(2).await;
    watched.scrapes.assert_firing(stuck + 2, &[]);
}

async fn a_quota_that_is_nearly_used_up_is_told_of(database: TestDatabase) {
    let provider = Provider::start().await;
    let mut watched = Watched::start(&database).await;
    let client = watched.client();
    let realm = json!({
        "url": provider.url("/token"), "method": "GET", "arguments": [],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "policy": {"quota": [{"limit": 20, "window_s": 86_400, "scope": "realm"}]},
    });
    client.save_realm("r", realm).await;
    for key in 0..18 {
        client.save_secret("r", &format!("k{key}")).await;
    }
    watched.lives(8).await;
    watched.scrapes.assert_fired(&[]);
    client.save_secret("r", "one-more").await;
    watched.lives(8).await;
    watched.scrapes.assert_firing(16, &[QUOTA]);
}

async fn denied_calls_that_miss_the_audit_are_told_of(database: TestDatabase) {
    let mut watched = Watched::start(&database).await;
    watched.lives(2).await;
    // When that happens: denials::
    watched.server.app().metrics.audit_dropped.inc();
    watched.lives(3).await;
    watched.scrapes.assert_firing(5, &[DROPPED]);
}

async fn a_sink_that_takes_no_entries_of_the_audit_is_told_of(database: TestDatabase) {
    let mut watched = Watched::start(&database).await;
    // When that happens: audit::sinks::
    let sink = SinkLabels { sink: "https" };
    let metrics = watched.server.app().metrics.clone();
    metrics.audit_sink_behind.get_or_create(&sink).set(3);
    watched.lives(10).await;
    watched.scrapes.assert_firing(10, &[]);
    watched.lives(7).await;
    watched.scrapes.assert_firing(17, &[BEHIND]);
}

async fn a_certificate_that_ends_soon_is_told_of(database: TestDatabase) {
    let mut watched = Watched::start(&database).await;
    // Where it comes from: tls_listener::ends::
    let metrics = watched.server.app().metrics.clone();
    let in_a_week = watched.clock.now().plus(Ms::from_secs(7 * 86_400));
    metrics.certificate_ends(Some(in_a_week.plus(Ms::from_secs(5 * 60))));
    watched.lives(19).await;
    watched.scrapes.assert_fired(&[]);
    watched.lives(4).await;
    watched.scrapes.assert_firing(23, &[ENDS]);
    metrics.certificate_ends(Some(in_a_week.plus(Ms::from_secs(86_400))));
    watched.lives(2).await;
    watched.scrapes.assert_firing(25, &[]);
}

mod a_replica_whose_clock_is_not_the_databases_is_told_of {
    /// SQLite has no clock of its own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_mysql() {
        super::clock_off(crate::kit::TestDatabase::mysql().await).await;
    }
}

async fn clock_off(database: TestDatabase) {
    // The test's clock stands years before the database's.
    let max_skew = ("TOKEN_SERVER__RENEWAL__MAX_SKEW_MS", "2000".to_owned());
    let mut watched = Watched::start_with(&database, vec![max_skew]).await;
    watched.lives(4).await;
    watched.scrapes.assert_firing(4, &[CLOCK]);
}

mod a_database_that_is_away_is_told_of {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_mysql() {
        let mariadb = DatabaseServer::start();
        mariadb.answers().await;
        let database = TestDatabase::on_server(mariadb.url()).await;
        let mut watched = away(&database, || mariadb.end(Signal::KILL)).await;
        mariadb.start_again();
        mariadb.answers().await;
        watched.database_is_up().await;
        watched.lives(2).await;
        let back = watched.scrapes.minutes();
        watched.scrapes.assert_firing(back, &[]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_sqlite() {
        let database = TestDatabase::sqlite();
        away(&database, || destroy(&database)).await;
    }

    /// What was a database is something else.
    fn destroy(database: &TestDatabase) {
        for end in ["", "-wal", "-shm"] {
            let name = format!("token-server.db{end}");
            let file = database.directory.path().join(name);
            let length = std::fs::metadata(&file).expect("the file is there").len();
            let length = usize::try_from(length).expect("a small file");
            std::fs::write(&file, vec![b'x'; length]).expect("the file can be written");
        }
    }
}

async fn away(database: &TestDatabase, breaks: impl FnOnce()) -> Watched {
    let provider = Provider::start().await;
    let mut watched = Watched::start(database).await;
    let client = watched.client();
    client.register(&provider.url("/token")).await;
    watched.lives(2).await;
    watched.followed().await;
    let page = client.get("/metrics").await.expect(200).text;
    let of_secrets = "token_server_secrets{state=\"active\",token=\"alive\"} 1\n";
    assert!(page.contains("token_server_database_up 1\n"), "{page}");
    assert!(page.contains(of_secrets), "{page}");
    breaks();
    // For as long as it lasts, although the key of whoever asks cannot be looked up.
    watched.stands(4).await;
    watched.scrapes.assert_firing(6, &[AWAY]);
    let page = client.get("/metrics").await.expect(200).text;
    assert!(page.contains("token_server_database_up 0\n"), "{page}");
    assert!(page.contains("token_server_renewals_total{"), "{page}");
    for unknown in ["token_server_secrets{", "_expiry_timestamp_seconds{"] {
        assert!(!page.contains(unknown), "{page}");
    }
    let contact = watched
        .scrapes
        .values("token_server_database_last_contact_timestamp_seconds");
    assert_eq!(contact[3], contact[5], "{contact:?}");
    watched
}
