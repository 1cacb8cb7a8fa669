//! Certificates that end: the server's, and those of callers on open connections.

use token_server::foundation::clock::Ms;

use super::*;

on_every_database! {
    the_end_of_the_servers_certificate_is_a_metric,
    a_certificate_that_has_ended_since_it_was_shown_lets_nobody_in,
}

const EXPIRY: &str = "token_server_tls_certificate_expiry_timestamp_seconds";

/// The value of the metric; none where it is absent.
async fn expiry(client: &Client) -> Option<f64> {
    let page = client.get("/metrics").await.expect(200).text;
    let mut lines = page.lines().filter(|line| line.starts_with(EXPIRY));
    let (_, value) = lines.next()?.rsplit_once(' ')?;
    Some(value.parse().expect("a number"))
}

async fn the_end_of_the_servers_certificate_is_a_metric(database: TestDatabase) {
    let authority = Authority::root("Root");
    // Of those that issued it one ends before it does, in 2080.
    let (mut params, soon) = (
        CertificateParams::default(),
        rcgen::date_time_ymd(2080, 1, 1),
    );
    params.not_after = soon;
    let mut issued = authority.issue(NAME, GOOD);
    issued.chain.extend(authority.issue_params(params).chain);
    let files = Files::write(database.directory.path(), &issued);
    let server = Server::start_with(&database, files.options()).await;
    let client = admin(&server, &authority);
    assert_eq!(expiry(&client).await, Some(3_471_292_800.0));
    files.replace(&authority.issue(NAME, GOOD));
    eventually("the new certificate", async || {
        (expiry(&client).await == Some(3_786_912_000.0)).then_some(())
    })
    .await;
    server.stop().await;
    let plain = Server::start(&database).await;
    assert_eq!(expiry(&plain.client).await, None);
}

async fn a_certificate_that_has_ended_since_it_was_shown_lets_nobody_in(database: TestDatabase) {
    let (own, of_clients) = (Authority::root("Root"), Authority::root("Root of clients"));
    let directory = database.directory.path();
    let files = Files::write(directory, &own.issue(NAME, GOOD));
    let authorities = directory.join("clients.pem");
    write_authorities(&authorities, &[&of_clients]);
    let options = files.with_clients(&authorities, &[("a.example", "a")]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let key = json!({"name": "a", "scopes": ["realm:read"]});
    admin(&server, &own)
        .post("/api/api-key", &key)
        .await
        .expect(200);
    let realms = url(&server, "/api/realm");
    let client = client(&server, &own).identity(identity(&of_clients, &[dns("a.example")]));
    let certified = client.build().expect("a client can be made");
    let status = async |key| status(&certified, &realms, key).await.expect("answered");
    assert_eq!(status(None).await, 200);
    // By the server's clock it is 2023, and the certificate ends with 2089.
    let year = Ms::from_secs(365 * 24 * 3600);
    clock.advance(Ms(60 * year.0));
    assert_eq!(status(None).await, 200);
    clock.advance(Ms(10 * year.0));
    assert_eq!(status(None).await, 401);
    // A key is good on that connection as on any other.
    assert_eq!(status(Some(ADMIN_KEY)).await, 200);
}
