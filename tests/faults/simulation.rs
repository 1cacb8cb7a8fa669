//! Many short lives of one token, on a clock that only the test moves: two replicas
//! renew it while whatever the seed says goes wrong, and the checker judges each life.
//!
//! `SIMULATION_SEEDS=FROM..TO` names the seeds instead.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use token_server::app::App;
use token_server::config::Settings;
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};
use token_server::foundation::ids::{KeyName, RealmId};
use token_server::foundation::randomness::Randomness;
use token_server::jobs::job::{self, LastOutcome};
use token_server::jobs::sweep::Sweep;
use token_server::reads::Ask;
use token_server::registry::{Actor, FieldChange, RealmPatch, SecretPatch, SentParam};
use token_server::secret::params::ParamChange;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::checker::{Given, History, Killed, Sample, Stored, violations};
use crate::kit::server::environment;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Next, Outcome, Reuse, RotatingProvider};
use crate::scene::{APART, LEASE, LENIENT, PARKED, held_by, name_of, rotating_realm, spooled};

on_every_database! {
    whatever_goes_wrong_no_token_is_lost_or_doubled_or_served_after_its_end,
}

/// Seeds that once showed a fault of the server; they are run first.
const KEPT: [u64; 0] = [];
/// Seeds of each run of the tests, on each database.
const SEEDS: Range<u64> = 0..6;
const LIFETIME_S: i64 = 600;
/// Things that happen in one life.
const STEPS: i64 = 12;
/// Renewals until a token must be well again, once nothing goes wrong any more.
const ROUNDS_MAX: usize = 8;

async fn whatever_goes_wrong_no_token_is_lost_or_doubled_or_served_after_its_end(
    database: TestDatabase,
) {
    let named = std::env::vars().find(|(name, _)| name == "SIMULATION_SEEDS");
    let seeds = named.map_or(SEEDS, |(_, range)| {
        let (from, to) = range.split_once("..").expect("FROM..TO");
        let number = |text: &str| text.parse().expect("a number");
        number(from)..number(to)
    });
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let mut faulty = Vec::new();
    for seed in KEPT.into_iter().chain(seeds) {
        let mut life = Life::begin(&database, &clock, seed).await;
        for _ in 0..STEPS {
            life.step().await;
        }
        let found = life.end().await;
        if !found.is_empty() {
            faulty.push(format!("seed {seed}: {found:#?}"));
        }
    }
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}

/// A server on a runtime of its own, so that it can die with everything it does.
struct Replica {
    name: &'static str,
    runtime: Runtime,
    app: App,
}

impl Replica {
    async fn start(life: &Life<'_>, name: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let directory = life.database.directory.path().join(name);
        let env = environment(
            life.database,
            &[
                ("TOKEN_SERVER__DATA_DIR", directory.display().to_string()),
                ("TOKEN_SERVER__RENEWAL__MAX_SKEW_MS", "0".to_owned()),
                ("TOKEN_SERVER__RENEWAL__REALM_RATE", "1000000".to_owned()),
                // Real time, and nobody brings what a dead replica held.
                ("TOKEN_SERVER__READ__MAX_WAIT_S", "1".to_owned()),
            ],
        );
        let settings = Settings::load(None, &env).expect("the configuration is good");
        let seed = u64::try_from(life.dice.between(0, i64::MAX)).expect("a number from 0");
        let opening = App::open(settings, life.clock.clone(), Randomness::seeded(seed));
        let app = runtime.spawn(Box::pin(opening)).await;
        let app = app.expect("it does not panic").expect("it opens");
        let _inside = runtime.enter();
        let sweep = Sweep::new(app.renewals.clone(), app.wake.clone());
        tokio::spawn(job::run(
            Arc::new(sweep),
            LastOutcome::default(),
            CancellationToken::new(),
        ));
        drop(_inside);
        Self { name, runtime, app }
    }

    /// As `kill -9`: whatever it does ends where it waits.
    async fn die(self) {
        let Self { runtime, app, .. } = self;
        let dying = tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(Duration::from_secs(5));
            drop(app);
        });
        dying.await.expect("it dies");
    }

    /// Sweeps once more.
    async fn sweep(&self) {
        let sweeps = || self.app.metrics.sweeps.get();
        let before = sweeps();
        self.app.wake.notify_one();
        eventually("a sweep", async || (sweeps() > before).then_some(())).await;
    }
}

/// One token, from its first request to the judgement.
struct Life<'a> {
    database: &'a TestDatabase,
    connection: DatabaseConnection,
    clock: Arc<ManualClock>,
    provider: RotatingProvider,
    dice: Randomness,
    realm: RealmId,
    key: KeyName,
    replicas: Vec<Replica>,
    /// Away, until it is started again.
    dead: Option<&'static str>,
    killed: HashSet<Killed>,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Nothing,
    Busy,
    KilledBefore,
    KilledAfter,
    /// Stands still until others may take over, and then goes on.
    StandsStill,
    /// The same, and is killed then.
    DiesStandingStill,
    /// Loses its database with a pair in hand, and is killed then.
    DatabaseLost,
}

const FAULTS: [Fault; 7] = [
    Fault::Nothing,
    Fault::Busy,
    Fault::KilledBefore,
    Fault::KilledAfter,
    Fault::StandsStill,
    Fault::DiesStandingStill,
    Fault::DatabaseLost,
];

impl<'a> Life<'a> {
    async fn begin(database: &'a TestDatabase, clock: &Arc<ManualClock>, seed: u64) -> Self {
        let reuse = match seed % 2 {
            0 => LENIENT,
            _ => Reuse::EndsFamily,
        };
        let mut life = Self {
            connection: database.connect().await,
            provider: RotatingProvider::on_clock(reuse, LIFETIME_S, clock.clone()).await,
            dice: Randomness::seeded(seed),
            realm: RealmId::new(format!("r{seed}")).expect("a name"),
            key: KeyName::new(format!("k{seed}")).expect("a name"),
            clock: clock.clone(),
            replicas: Vec::new(),
            dead: None,
            killed: HashSet::new(),
            samples: Vec::new(),
            database,
        };
        for name in ["a", "b"] {
            let replica = Replica::start(&life, name).await;
            life.replicas.push(replica);
        }
        let registry = &life.replicas[0].app.registry;
        let by = Actor::command_line();
        let realm = RealmPatch {
            id: life.realm.clone(),
            comment: FieldChange::Keep,
            config: FieldChange::Set(rotating_realm(&life.provider)),
            logic_code: FieldChange::Keep,
        };
        registry
            .save_realm(realm, None, &by)
            .await
            .expect("a good realm");
        let first = RotatingProvider::first_refresh_token(life.key.as_str());
        let secret = SecretPatch {
            realm: life.realm.clone(),
            key: life.key.clone(),
            params: vec![SentParam::named(
                "refresh_token",
                ParamChange::Set(first.into()),
            )],
            token: None,
        };
        registry
            .save_secret(secret, &by)
            .await
            .expect("a good secret");
        life.settle().await;
        life
    }

    fn draw(&self, count: usize) -> usize {
        let last = i64::try_from(count - 1).expect("a small number");
        usize::try_from(self.dice.between(0, last)).expect("a number from 0")
    }

    async fn step(&mut self) {
        self.pass_time().await;
        self.read().await;
        if self.dead.is_some() && self.draw(2) == 0 {
            self.revive().await;
        }
        let fault = FAULTS[self.draw(FAULTS.len())];
        let chosen = self.draw(self.replicas.len());
        match fault {
            Fault::Nothing => self.settle().await,
            Fault::Busy => {
                self.provider.next(Next::Busy);
                self.settle().await;
            }
            Fault::KilledBefore => self.kill_in_flight(chosen, Next::HeldBefore).await,
            Fault::KilledAfter => self.kill_in_flight(chosen, Next::HeldAfter).await,
            Fault::StandsStill => self.stand_still(chosen, false).await,
            Fault::DiesStandingStill => self.stand_still(chosen, true).await,
            Fault::DatabaseLost => self.lose_database(chosen).await,
        }
        self.provider.next(Next::Usual);
        self.read().await;
    }

    /// Mostly until the token is due, sometimes a while, now and then until it has expired.
    async fn pass_time(&self) {
        let left = self.number("renew_at").await - self.clock.now().0;
        let passed = match self.draw(6) {
            0 => self.dice.between(0, 20_000),
            1 => left.max(0) + LIFETIME_S * 1000,
            _ => left.max(0) + self.dice.between(0, 1000),
        };
        self.clock.advance(Ms(passed));
    }

    /// Has one replica make the request that is due, which is held there; false where none
    /// is due.
    async fn in_flight(&self, chosen: usize, stage: Next) -> bool {
        self.provider.next(stage);
        self.replicas[chosen].sweep().await;
        tokio::select! {
            _ = self.provider.holds() => {}
            () = self.settled() => return false,
        }
        // Another may have been woken by what it kept late.
        let own = name_of(
            &self
                .database
                .directory
                .path()
                .join(self.replicas[chosen].name),
        );
        let owned = format!("CASE WHEN lease_owner = '{own}' THEN 1 ELSE 0 END");
        if self.number(&owned).await == 1 {
            return true;
        }
        self.provider.let_go();
        self.settled().await;
        false
    }

    async fn kill_in_flight(&mut self, chosen: usize, stage: Next) {
        if !self.in_flight(chosen, stage).await {
            return;
        }
        self.kill(chosen).await;
        let directory = self
            .database
            .directory
            .path()
            .join(self.dead.expect("dead"));
        self.killed.extend(held_by(self.database, &directory).await);
        self.provider.let_go();
        // Back at once, after a moment, or when another has taken over.
        if self.draw(3) > 0 {
            self.clock.advance(Ms(self.dice.between(0, 3 * LEASE.0)));
            self.revive().await;
        }
        self.settle().await;
    }

    async fn stand_still(&mut self, chosen: usize, dies: bool) {
        if !self.in_flight(chosen, Next::HeldAfter).await {
            return;
        }
        let held = self.provider.log().pop().expect("a request is held");
        for _ in 0..2 {
            self.clock.advance(Ms(LEASE.0 + self.dice.between(0, 2000)));
            for (index, replica) in self.replicas.iter().enumerate() {
                if index != chosen {
                    replica.sweep().await;
                }
            }
        }
        if dies {
            self.kill(chosen).await;
            self.killed.insert(Killed {
                key: held.client,
                attempt: held.attempt,
            });
        }
        self.provider.let_go();
        self.settle().await;
    }

    async fn lose_database(&mut self, chosen: usize) {
        if !self.in_flight(chosen, Next::HeldAfter).await {
            return;
        }
        let last = self.provider.log().pop();
        if !matches!(
            last.map(|exchange| exchange.outcome),
            Some(Outcome::Rotated(_))
        ) {
            // There is no pair to be lost.
            self.provider.let_go();
            return self.settle().await;
        }
        let replica = &self.replicas[chosen];
        replica.app.database.close().await;
        self.provider.let_go();
        let directory = self.database.directory.path().join(replica.name);
        eventually("the pair is in the spool", async || {
            (spooled(&directory) > 0).then_some(())
        })
        .await;
        self.kill(chosen).await;
        self.revive().await;
        self.settle().await;
    }

    async fn kill(&mut self, chosen: usize) {
        if self.dead.is_some() {
            self.revive().await;
        }
        let replica = self.replicas.remove(chosen);
        self.dead = Some(replica.name);
        replica.die().await;
    }

    async fn revive(&mut self) {
        if let Some(name) = self.dead.take() {
            let replica = Replica::start(self, name).await;
            self.replicas.push(replica);
        }
    }

    /// Lets all replicas do what is to be done now.
    async fn settle(&self) {
        for replica in &self.replicas {
            replica.sweep().await;
            self.settled().await;
        }
    }

    async fn settled(&self) {
        eventually("nothing is left to do", async || {
            self.is_settled().await.then_some(())
        })
        .await;
    }

    /// Nothing is due that could be claimed, and nobody who lives holds the lease.
    async fn is_settled(&self) -> bool {
        let now = self.clock.now().0;
        let due = format!("CASE WHEN lease_owner IS NULL AND renew_at <= {now} THEN 1 ELSE 0 END");
        self.number(&due).await == 0 && !self.is_held().await
    }

    /// Whether one who lives holds the lease.
    async fn is_held(&self) -> bool {
        let dead = self.dead.map_or_else(String::new, |name| {
            name_of(&self.database.directory.path().join(name))
        });
        let held = format!("CASE WHEN lease_owner <> '{dead}' THEN 1 ELSE 0 END");
        self.number(&held).await == 1
    }

    /// A number of the token's row; 0 for null.
    async fn number(&self, expression: &str) -> i64 {
        let statement = Statement::from_sql_and_values(
            self.connection.get_database_backend(),
            format!("SELECT COALESCE({expression}, 0) FROM ts_token WHERE realm_id = ?"),
            [self.realm.as_str().into()],
        );
        let row = self.connection.query_one_raw(statement).await;
        let row = row
            .expect("the query is good")
            .expect("the token has a row");
        row.try_get_by_index(0).expect("a number")
    }

    async fn read(&mut self) {
        let replica = &self.replicas[self.draw(self.replicas.len())];
        // No connection leads to two replicas.
        let caller = usize::from(replica.name == "b");
        let (reads, ask) = (
            replica.app.reads.clone(),
            Ask {
                realm: self.realm.clone(),
                key: self.key.clone(),
                min_ttl: Ms::ZERO,
                flush: None,
            },
        );
        let asked_at = self.clock.now();
        let reading = replica.runtime.spawn(async move { reads.read(&ask).await });
        let given = match reading.await.expect("it does not panic") {
            Ok(served) => Given::Token {
                token: secrecy::ExposeSecret::expose_secret(&served.payload.token).to_owned(),
                generation: served.generation.0,
            },
            Err(error) => Given::Refused(503, error.to_string()),
        };
        self.samples.push(Sample {
            caller,
            key: self.key.as_str().to_owned(),
            asked_at,
            answered_at: self.clock.now(),
            given,
        });
        // A reader waits a second of real time. What goes wrong next concerns another attempt: in
        // this one no token is valid, so that a lost pair is not waited for to the end.
        eventually("the attempt that a reader began ends", async || {
            (!self.is_held().await).then_some(())
        })
        .await;
    }

    /// Nothing goes wrong any more: the token is renewed, or parked for the one good reason.
    async fn end(mut self) -> Vec<String> {
        self.revive().await;
        let before = self.number("generation").await;
        let mut rounds = 0;
        while !self.is_parked().await && self.number("generation").await == before {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return vec!["it is neither renewed nor parked".to_owned()];
            }
            let left = self.number("renew_at").await - self.clock.now().0;
            self.clock.advance(Ms(left.max(0)));
            self.settle().await;
        }
        self.read().await;
        let parked = match self.is_parked().await {
            true => vec![self.key.as_str().to_owned()],
            false => Vec::new(),
        };
        let mut history = History {
            provider: self.provider.log(),
            stored: self.stored().await,
            samples: std::mem::take(&mut self.samples),
            parked,
            killed: std::mem::take(&mut self.killed),
            lifetime: Ms::from_secs(LIFETIME_S),
            apart: APART,
        };
        let found = violations(&history);
        let registry = &self.replicas[0].app.registry;
        let by = Actor::command_line();
        let deleted = registry.delete_realm(&self.realm, true, &by).await;
        deleted.expect("a realm can be deleted");
        for replica in self.replicas {
            replica.die().await;
        }
        self.connection
            .close()
            .await
            .expect("the connection closes");
        if found.is_empty() {
            return found;
        }
        history.samples.clear();
        [found, vec![format!("{history:#?}")]].concat()
    }

    async fn is_parked(&self) -> bool {
        let parked = format!("CASE WHEN {PARKED} THEN 1 ELSE 0 END");
        self.number(&parked).await == 1
    }

    async fn stored(&self) -> Vec<Stored> {
        let statement = Statement::from_sql_and_values(
            self.connection.get_database_backend(),
            "SELECT key_name, attempt_id, generation FROM ts_renewal \
             WHERE realm_id = ? AND outcome = 'stored' ORDER BY id",
            [self.realm.as_str().into()],
        );
        let rows = self.connection.query_all_raw(statement).await;
        let stored = rows
            .expect("the query is good")
            .into_iter()
            .map(|row| Stored {
                key: row.try_get_by_index(0).expect("a text"),
                attempt: row.try_get_by_index(1).expect("a text"),
                generation: row.try_get_by_index(2).expect("a number"),
            });
        stored.collect()
    }
}
