//! The same on a cluster of three nodes, each replica on a node of its own: `make test-galera`,
//! `make test-group-replication`.

use crate::kit::TestDatabase;

/// Runs behaviours on the cluster of `tests/servers/galera.sh` or `group-replication.sh`, where the
/// feature `cluster` says that there is one.
macro_rules! on_clusters {
    ($($behaviour:ident,)+) => {
        #[cfg(feature = "cluster")]
        mod cluster {
            $(
                mod $behaviour {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn on_a_cluster() {
                        let database = crate::cluster::database().await;
                        super::super::$behaviour(database).await;
                    }
                }
            )+
        }
    };
}

fn variable(wanted: &str) -> Option<String> {
    let mut variables = std::env::vars();
    variables.find_map(|(name, value)| (name == wanted).then_some(value))
}

/// The URLs of the nodes; none: the test runs on another database.
fn nodes() -> Vec<String> {
    let urls = variable("TEST_CLUSTER_URLS").unwrap_or_default();
    let urls = urls.split(',').filter(|url| !url.is_empty());
    urls.map(str::to_owned).collect()
}

/// A database of its own, made on the first node.
#[cfg(feature = "cluster")]
pub async fn database() -> TestDatabase {
    let nodes = nodes();
    let first = nodes
        .first()
        .expect("the script of the cluster names the nodes");
    TestDatabase::on_server(first).await
}

/// Where a replica finds the database: each letter of the alphabet has the next node.
pub fn url_of(database: &TestDatabase, replica: &str) -> String {
    let nodes = nodes();
    let Some(letter) = replica.bytes().next().filter(|_| !nodes.is_empty()) else {
        return database.url.clone();
    };
    let node = &nodes[usize::from(letter - b'a') % nodes.len()];
    let name = database.url.rsplit('/').next().expect("a URL has a path");
    format!("{node}/{name}")
}

#[cfg(feature = "cluster")]
mod broken {
    use std::process::Command;

    use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
    use token_server::foundation::clock::Ms;

    use crate::kit::eventually;
    use crate::provider::{Held, Next, Reuse};
    use crate::scene::{LIFETIME_S, Scene, rotating_realm};

    fn node(verb: &str, number: &str) {
        let script = super::variable("TEST_CLUSTER_SCRIPT").expect("the script names itself");
        let done = Command::new(script).args([verb, number]).status();
        assert!(done.expect("the script runs").success(), "{verb} {number}");
    }

    /// The replica on the node that dies has a pair in its hands.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pair_in_flight_survives_the_death_of_its_replicas_node() {
        let database = super::database().await;
        let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
        let b = scene.replica("b");
        scene.begin(&b.client).await;
        scene.rotates_unanswered().await;
        let (a, c) = (scene.replica("a"), scene.replica("c"));
        node("--kill", "2");
        scene.provider.hold(Held::Nowhere);
        eventually("the pair is in the spool", async || {
            (scene.spooled("b") == 1).then_some(())
        })
        .await;
        for (caller, other) in [&a, &c].into_iter().enumerate() {
            assert_eq!(scene.read(&other.client, caller, "k").await, Some(1));
        }
        node("--start", "2");
        a.client.generation("r", "k", 2).await;
        assert_eq!(scene.provider.rotations(), 2, "nothing was asked again");
        scene.renews_again(&c.client, "k").await;
        scene.judge(&a.client).await;
    }

    /// How a node is held up, and let go; how those who wait for it are found.
    struct Holding {
        hold: &'static [&'static str],
        let_go: &'static [&'static str],
        waiting: &'static str,
    }

    const GALERA: Holding = Holding {
        hold: &[
            "SET GLOBAL wsrep_desync = ON",
            "FLUSH TABLES WITH READ LOCK",
        ],
        let_go: &["UNLOCK TABLES", "SET GLOBAL wsrep_desync = OFF"],
        waiting: "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() \
                  AND user = 'root' AND command <> 'Sleep' AND time_ms > 200 \
                  AND id <> CONNECTION_ID()",
    };

    /// Reads wait in a hook before their transaction begins.
    const GROUP_REPLICATION: Holding = Holding {
        hold: &["FLUSH TABLES WITH READ LOCK"],
        let_go: &["UNLOCK TABLES"],
        waiting: "SELECT COUNT(*) FROM performance_schema.processlist WHERE db = DATABASE() \
                  AND state LIKE 'Executing hook%'",
    };

    /// A node that takes part and applies nothing of what the others commit.
    struct HeldUp {
        connection: DatabaseConnection,
        holding: &'static Holding,
    }

    impl HeldUp {
        /// The lock is the connection's, so there is only one.
        async fn new(url: String) -> Self {
            let options = ConnectOptions::new(url).max_connections(1).to_owned();
            let node = Self {
                connection: Database::connect(options).await.expect("the node answers"),
                holding: match super::variable("TEST_CLUSTER_KIND").as_deref() {
                    Some("galera") => &GALERA,
                    Some("group_replication") => &GROUP_REPLICATION,
                    other => panic!("no cluster is of the kind {other:?}"),
                },
            };
            node.run(node.holding.hold).await;
            node
        }

        async fn run(&self, statements: &[&str]) {
            for sql in statements {
                let done = self.connection.execute_unprepared(sql).await;
                done.expect("the statement is good");
            }
        }

        /// Waits until somebody waits for this node.
        async fn is_waited_for(&self) {
            let question = Statement::from_string(
                self.connection.get_database_backend(),
                self.holding.waiting,
            );
            eventually("somebody waits for the node", async || {
                let row = self.connection.query_one_raw(question.clone()).await;
                let row = row.expect("the query is good").expect("a row");
                let waiting: i64 = row.try_get_by_index(0).expect("a number");
                (waiting > 0).then_some(())
            })
            .await;
        }

        async fn go_on(self) {
            self.run(self.holding.let_go).await;
            self.connection
                .close()
                .await
                .expect("the connection closes");
        }
    }

    /// The refresh token is refused because another replica's late pair has taken its place:
    /// on another node, and not on the one that is asked.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lost_race_is_no_failure_although_the_replicas_node_lags_behind() {
        let database = super::database().await;
        let scene = Scene::set(database, Reuse::AcceptedFor(Ms::ZERO), LIFETIME_S).await;
        let (a, b) = (scene.replica("a"), scene.replica("b"));
        let mut realm = rotating_realm(&scene.provider);
        realm["policy"]["timeout_s"] = 5.into();
        a.client.save_realm("r", realm).await;
        scene.register(&a.client, "k").await;
        b.client.generation("r", "k", 1).await;
        b.stand_still();
        scene.rotates_unanswered().await;
        a.stand_still();
        scene.provider.hold(Held::Nowhere);
        // There is no time to wait for a.
        scene
            .run("UPDATE ts_token SET expires_at = last_attempt_at + 1000")
            .await;
        scene.provider.next(Next::HeldAfter);
        b.go_on();
        scene.provider.holds().await;
        assert_eq!(scene.provider.received(), 3);

        let node = HeldUp::new(super::url_of(&scene.database, "b")).await;
        a.go_on();
        eventually("the late pair is stored on the node of a", async || {
            let stored = "SELECT generation FROM ts_token";
            (scene.database.number(stored).await == 2).then_some(())
        })
        .await;
        scene.provider.let_go();
        node.is_waited_for().await;
        node.go_on().await;

        eventually("b has given its lease back", async || {
            let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
            (scene.database.number(held).await == 0).then_some(())
        })
        .await;
        let attempts = a.client.list("/api/renewal").await;
        let failed = attempts.iter().find(|attempt| !attempt["class"].is_null());
        assert_eq!(failed, None);
        b.client.generation("r", "k", 2).await;
        scene.renews_again(&b.client, "k").await;
    }
}
