//! Authorities of callers' certificates that are replaced while connections are open.

use super::*;

on_every_database! {
    a_certificate_whose_authority_is_out_of_use_lets_nobody_in_on_open_connections,
}

async fn a_certificate_whose_authority_is_out_of_use_lets_nobody_in_on_open_connections(
    database: TestDatabase,
) {
    let own = Authority::root("Root");
    let (old, new) = (Authority::root("Old Root"), Authority::root("New Root"));
    let directory = database.directory.path();
    let files = Files::write(directory, &own.issue(NAME, GOOD));
    let authorities = directory.join("clients.pem");
    write_authorities(&authorities, &[&old]);
    let options = files.with_clients(&authorities, &[("a.example", "a")]);
    // A connection that rests is not looked at meanwhile.
    let options = options.with(&[
        ("TOKEN_SERVER__HTTP__HEADER_TIMEOUT_S", "600"),
        ("TOKEN_SERVER__HTTP__IDLE_TIMEOUT_S", "600"),
    ]);
    let server = Server::start_with(&database, options).await;
    let key = json!({"name": "a", "scopes": ["realm:read"]});
    admin(&server, &own)
        .post("/api/api-key", &key)
        .await
        .expect(200);
    let realms = url(&server, "/api/realm");
    let builder = |authority: &Authority| {
        let identity = identity(authority, &[dns("a.example")]);
        client(&server, &own).identity(identity)
    };
    let build = |builder: ClientBuilder| builder.build().expect("a client can be made");
    let of_old = [build(builder(&old)), build(builder(&old).http1_only())];
    let with_key = build(builder(&old));
    let good = async |client: &reqwest::Client| {
        let answered = status(client, &realms, None).await;
        assert_eq!(answered.expect("answered"), 200);
    };
    for client in of_old.iter().chain([&with_key]) {
        good(client).await;
    }
    // Both are in use for a while, and nobody notices.
    write_authorities(&authorities, &[&old, &new]);
    let taken = async || looked(&build(builder(&new)), &realms).await?.ok();
    eventually("the new authority is in use", taken).await;
    let of_new = build(builder(&new));
    for client in of_old.iter().chain([&with_key, &of_new]) {
        good(client).await;
    }
    write_authorities(&authorities, &[&new]);
    eventually("the old authority is out of use", async || {
        let late = looked(&build(builder(&old)), &realms).await?;
        late.is_err().then_some(())
    })
    .await;
    good(&of_new).await;
    // A handshake with such a certificate fails: what is answered is so on the open connection.
    let answered = status(&with_key, &realms, Some(ADMIN_KEY)).await;
    assert_eq!(answered.expect("answered"), 200);
    for client in &of_old {
        let answered = status(client, &realms, None).await;
        assert_eq!(answered.expect("answered"), 401);
    }
    // It is closed with that answer.
    for client in of_old.iter().chain([&with_key]) {
        eventually("the connection has ended", async || {
            let ended = looked(client, &realms).await?;
            ended.is_err().then_some(())
        })
        .await;
    }
    good(&of_new).await;
}
