//! The same on a Galera cluster, each replica on a node of its own: `make test-galera`.

use crate::kit::TestDatabase;

/// Runs behaviours on the cluster of `tests/servers/galera.sh`, where the feature `galera`
/// says that there is one.
macro_rules! on_galera {
    ($($behaviour:ident,)+) => {
        #[cfg(feature = "galera")]
        mod galera {
            $(
                mod $behaviour {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn on_galera() {
                        let database = crate::galera::database().await;
                        super::super::$behaviour(database).await;
                    }
                }
            )+
        }
    };
}

/// The URLs of the nodes; none: the test runs on another database.
fn nodes() -> Vec<String> {
    let named = |(name, _): &(String, String)| name == "TEST_GALERA_URLS";
    let urls = std::env::vars().find(named).map(|(_, urls)| urls);
    urls.map_or_else(Vec::new, |urls| {
        urls.split(',').map(str::to_owned).collect()
    })
}

/// A database of its own, made on the first node.
#[cfg(feature = "galera")]
pub async fn database() -> TestDatabase {
    let nodes = nodes();
    let first = nodes
        .first()
        .expect("tests/servers/galera.sh names the nodes");
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

#[cfg(feature = "galera")]
mod broken {
    use std::process::Command;

    use crate::kit::eventually;
    use crate::provider::{Held, Reuse};
    use crate::scene::{LIFETIME_S, Scene};

    fn node(verb: &str, number: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/galera.sh");
        let done = Command::new(script).args([verb, number]).status();
        assert!(done.expect("the script runs").success(), "{verb} {number}");
    }

    /// The replica on the node that dies has a pair in its hands.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pair_in_flight_survives_the_death_of_its_replicas_node_on_galera() {
        let database = super::database().await;
        let mut scene = Scene::set(database, Reuse::EndsFamily, LIFETIME_S).await;
        let b = scene.replica("b");
        scene.begin(&b.client).await;
        scene.provider.hold(Held::After);
        scene.due().await;
        eventually("the provider has rotated", async || {
            (scene.provider.rotations() == 2).then_some(())
        })
        .await;
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
}
