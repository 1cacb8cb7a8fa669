//! What sweeps read, and what they claim at once.

use sea_orm::{ConnectionTrait, Statement};
use token_server::foundation::clock::{Clock, Deadline, EpochMs, Ms, SystemClock, Timeline};
use token_server::foundation::ids::{ClaimId, Generation, RealmId, ReplicaId};
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::{KeyRing, Sealed};
use token_server::token::claim::Claim;
use token_server::token::expiry::Expiry;
use token_server::token::lease::{self, ClaimCondition};
use token_server::token::locked::Busy;
use token_server::token::results::{self, Novelty, RefreshChange, TokenUpdate, Update};
use token_server::token::{HeldToken, SealedPayload, Serving, due};

use crate::kit::database::DIGITS;
use crate::kit::server::SEALING_KEYS;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    tokens_as_long_as_answers_may_be_are_claimed_and_stored_together,
}

/// As many of a mebibyte are more than the 16 MiB that a database takes in one statement.
const LONG: usize = 18;

async fn tokens_as_long_as_answers_may_be_are_claimed_and_stored_together(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    for number in 0..LONG {
        client.save_secret("r", &format!("k{number}")).await;
    }
    for number in 0..LONG {
        client.generation("r", &format!("k{number}"), 1).await;
    }
    let now = clock.now().plus(Ms::from_secs(7200));
    server.stop().await;
    let (connection, realm) = (database.connect().await, RealmId::new("r").expect("a name"));
    let ring = KeyRing::parse(&SEALING_KEYS.into(), Randomness::seeded(1)).expect("a key ring");
    let due = due::due_in(&connection, &realm, now, &[], LONG as u64).await;
    let condition = ClaimCondition::Due(due.expect("the query is good"));
    // The first makes the rows long, and the others find them so.
    for generation in 2..=3 {
        let claim = Claim {
            owner: ReplicaId("a".to_owned()),
            id: ClaimId::new(format!("claim {generation}")),
            now,
            until: now.plus(Ms::from_secs(30)),
            lease: Deadline::after(clock.machine(), Ms::from_secs(30)),
        };
        let claimed = lease::claim(&connection, &condition, &claim).await;
        let claimed = claimed.expect("the claim is written");
        assert_eq!(claimed.len(), LONG);
        let stored = long_token(now);
        let stored = Update::Token(&stored);
        let results: Vec<_> = claimed.iter().map(|claimed| (claimed, stored)).collect();
        let stored = results::store(&connection, &results, Busy::LeaveOut, &ring, now).await;
        let stored = stored.expect("the tokens are written");
        assert_eq!(stored, [Some(Generation(generation)); LONG]);
    }
}

/// It is due again at once.
fn long_token(now: EpochMs) -> TokenUpdate {
    TokenUpdate {
        held: HeldToken {
            payload: SealedPayload {
                token: Sealed(vec![b'x'; 1 << 20]),
                token_type: None,
                extra: None,
                expiry: Expiry::Never,
            },
            serving: Serving::AsItCame,
            obtained_at: now,
        },
        refresh: RefreshChange::Keep,
        novelty: Novelty::New,
        renew_at: Some(now),
    }
}

/// Copies of each of a thousand numbers, none due.
const MANY: &str = "INSERT INTO ts_token (secret_id, realm_id, key_name, per_read, generation, \
     refresh_line, lost_awaited, renew_at, paused, forced, failures, fence, updated_at) \
     SELECT 1000 + a.d + 10 * b.d + 100 * c.d, realm_id, CONCAT('k', a.d, b.d, c.d), FALSE, 1, 0, \
     FALSE, 99999999999999, FALSE, FALSE, 0, 1, 0 \
     FROM DIGITS a, DIGITS b, DIGITS c, ts_token WHERE key_name = 'first'";

mod an_idle_sweep_reads_as_few_rows_where_there_are_many_tokens {
    /// SQLite counts nothing of the kind; mark 5 measures it there.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_mysql() {
        super::an_idle_sweep(crate::kit::TestDatabase::mysql().await).await;
    }
}

async fn an_idle_sweep(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    for realm in ["a", "b", "c"] {
        server
            .client
            .register_realm(realm, &provider.url("/token"))
            .await;
    }
    server.client.save_secret("b", "first").await;
    server.client.generation("b", "first", 1).await;
    server.stop().await;
    let connection = database.connect().await;
    let many = MANY.replace("DIGITS", DIGITS);
    let done = connection.execute_unprepared(&many).await;
    assert_eq!(done.expect("the statement is good").rows_affected(), 1000);
    let realms = ["a", "b", "c"].map(|name| RealmId::new(name).expect("a name"));
    // A statement that was prepared may be planned anew.
    for _ in 0..3 {
        let before = rows_read(&connection).await;
        let due = due::due_among(&connection, &realms, SystemClock.now()).await;
        assert!(due.expect("the query is good").is_empty());
        let read = rows_read(&connection).await - before;
        assert!(read < 20, "{read} rows were read");
    }
}

/// By this connection, in whatever way.
async fn rows_read(connection: &impl ConnectionTrait) -> i64 {
    let counters = "SHOW SESSION STATUS LIKE 'Handler_read%'";
    let statement = Statement::from_string(connection.get_database_backend(), counters);
    let rows = connection.query_all_raw(statement).await;
    let count = |row: &sea_orm::QueryResult| -> i64 {
        let text: String = row.try_get_by_index(1).expect("a counter");
        text.parse().expect("a number")
    };
    rows.expect("the server counts").iter().map(count).sum()
}
