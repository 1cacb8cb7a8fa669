//! A row that somebody is changing when a run comes by.

use sea_orm::{ConnectionTrait, TransactionTrait};
use token_server::renewal::{RunBy, RunScope};

use crate::kit::database::Kind;
use crate::kit::server::Options;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_token_whose_row_is_locked_for_a_moment_is_renewed_by_the_same_run,
}

async fn a_token_whose_row_is_locked_for_a_moment_is_renewed_by_the_same_run(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    for key in ["locked", "free"] {
        client.save_secret("r", key).await;
        client.generation("r", key, 1).await;
    }
    server.stop().await;
    // Nothing sweeps beside it.
    let app = Server::opened(&database, Options::default()).await;
    let id = "SELECT secret_id FROM ts_token WHERE key_name = 'locked'";
    let id = database.number(id).await;
    for by in [RunBy::Call, RunBy::Job] {
        database.run("UPDATE ts_token SET renew_at = 0").await;
        let connection = database.connect().await;
        let changing = connection.begin().await.expect("it begins");
        // In SQLite one transaction writes at a time: no row is ever passed over.
        if database.kind() == Kind::MySql {
            let lock = format!("SELECT 1 FROM ts_token WHERE secret_id = {id} FOR UPDATE");
            let locked = changing.execute_unprepared(&lock).await;
            locked.expect("it is locked");
        }
        let before = provider.hold();
        let run = tokio::spawn({
            let renewals = app.renewals.clone();
            let scope = RunScope {
                by,
                ..RunScope::default()
            };
            async move { renewals.run(&scope, &()).await }
        });
        // The other is asked for: this one was passed over.
        provider.wait_for_requests(before + 1).await;
        changing.rollback().await.expect("it ends");
        connection.close().await.expect("the connection closes");
        provider.release();
        let summary = run.await.expect("it ends").expect("the database answers");
        assert_eq!((summary.renewed, summary.left), (2, 0), "{by:?}");
    }
    app.close().await;
}
