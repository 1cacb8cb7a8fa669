//! Callers with certificates.

use super::*;

on_every_database! {
    a_caller_acts_as_the_api_key_that_its_certificate_stands_for,
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

async fn a_caller_acts_as_the_api_key_that_its_certificate_stands_for(database: TestDatabase) {
    let (own, of_clients) = (Authority::root("Root"), Authority::root("Root of clients"));
    let strange = Authority::root("Strange Root");
    let directory = database.directory.path();
    let files = Files::write(directory, &own.issue(NAME, GOOD));
    let authorities = directory.join("clients.pem");
    write_authorities(&authorities, &[&of_clients]);
    let clients = [
        ("spiffe://example/Billing", "billing"),
        ("reports.example", "billing"),
        ("nobody.example", "no-such-key"),
    ];
    let options = files.with_clients(&authorities, &clients);
    let server = Server::start_with(&database, options).await;
    let anonymous = client(&server, &own).build().expect("a client can be made");
    let (realms, audit) = (url(&server, "/api/realm"), url(&server, "/api/audit"));
    let admin = admin(&server, &own);
    let key = json!({"name": "billing", "scopes": ["realm:read"]});
    let made = admin.post("/api/api-key", &key).await.expect(200).json();
    let id = made["data"]["id"].as_i64().expect("an id");
    let with = |authority: &Authority, names: &[SanType]| {
        let client = client(&server, &own).identity(identity(authority, names));
        client.build().expect("a client can be made")
    };
    let billing = with(&of_clients, &[uri("spiffe://example/Billing")]);
    let by_dns = with(&of_clients, &[dns("reports.example"), dns("other.example")]);
    for certified in [&billing, &by_dns] {
        assert_eq!(
            status(certified, &realms, None).await.expect("answered"),
            200
        );
        // It has the scopes of that key and no other.
        assert_eq!(
            status(certified, &audit, None).await.expect("answered"),
            403
        );
        // A key that is sent counts, good or not.
        assert_eq!(
            status(certified, &audit, Some(ADMIN_KEY))
                .await
                .expect("answered"),
            200
        );
        assert_eq!(
            status(certified, &realms, Some("wrong"))
                .await
                .expect("answered"),
            401
        );
    }
    for nobody in [
        anonymous.clone(),
        with(&of_clients, &[dns("nobody.example")]),
        with(&of_clients, &[uri("spiffe://example/billing")]),
        with(&of_clients, &[dns("billing")]),
        with(&of_clients, &[]),
    ] {
        assert_eq!(status(&nobody, &realms, None).await.expect("answered"), 401);
    }
    let stranger = with(&strange, &[uri("spiffe://example/Billing")]);
    assert!(status(&stranger, &realms, None).await.is_err());
    admin
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    for certified in [billing, by_dns] {
        assert_eq!(
            status(&certified, &realms, None).await.expect("answered"),
            401
        );
    }
}
