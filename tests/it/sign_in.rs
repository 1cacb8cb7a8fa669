//! Sign-in to the console by OpenID Connect: at a certified provider, and every way in which one comes to
//! nothing.

mod refused;
mod rules;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::browser::Browser;
use crate::kit::oidc::{CONSOLE_SECRET, OauthServer};
use crate::kit::server::{Client, Options, Reply};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    who_signs_in_has_exactly_the_rights_of_the_first_rule_that_his_claims_meet,
    who_meets_no_rule_is_refused_and_named_in_the_audit,
    a_human_who_refuses_is_led_back_and_told_so,
    a_sign_in_is_good_once_for_the_browser_that_began_it_and_for_its_ring,
    a_sign_in_goes_on_at_another_replica,
    the_sign_in_page_is_told_how_to_sign_in,
}

/// How browsers reach the servers of these tests; no request is sent there.
pub const PUBLIC_URL: &str = "http://console.example";
/// Another key under the id of the one that the other tests seal with.
const OTHER_RING: &str = "test:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// What a server is configured with where the console's provider is this.
pub fn by_oidc(issuer: &str, secret: Option<&str>, rules: &Value) -> Options {
    let rules = rules.to_string();
    let options = Options::default().with(&[
        ("TOKEN_SERVER__CONSOLE__PUBLIC_URL", PUBLIC_URL),
        ("TOKEN_SERVER__CONSOLE__OIDC__ISSUER", issuer),
        ("TOKEN_SERVER__CONSOLE__OIDC__CLIENT_ID", "console"),
        ("TOKEN_SERVER__CONSOLE__OIDC__NAME", "Staff"),
        ("TOKEN_SERVER__CONSOLE__OIDC__SCOPES", "openid groups"),
        ("TOKEN_SERVER__CONSOLE__OIDC__RULES", &rules),
    ]);
    match secret {
        None => options,
        Some(secret) => options.with(&[("TOKEN_SERVER__CONSOLE__OIDC__CLIENT_SECRET", secret)]),
    }
}

/// Rules over the groups of the provider's humans.
fn rules() -> Value {
    json!([
        {"when": "'token-admins' in claims.groups", "scopes": ["admin"]},
        {"when": "'token-readers' in claims.groups", "scopes": ["realm:read"], "realms": ["r*"]},
    ])
}

/// Somebody who is about to sign in, in a browser.
pub struct Visitor {
    client: Client,
}

impl Visitor {
    pub fn at(server: &Server) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client can be made");
        let client = Client::over(http, format!("http://{}", server.address()));
        Self {
            client: client.without_key(),
        }
    }

    /// Where he is led to, and the cookie that he keeps.
    pub async fn begin(&self) -> (String, String) {
        let begun = self.client.get("/console/sign-in/oidc").await.expect(303);
        let set = begun.header("set-cookie").expect("a cookie");
        let (kept, attributes) = set.split_once(';').expect("attributes");
        assert_eq!(
            attributes, " Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
            "what is said of the cookie"
        );
        let location = begun.header("location").expect("a place");
        (location.to_owned(), kept.to_owned())
    }

    /// Comes back with what the provider has led him to.
    pub async fn complete(&self, kept: Option<&str>, led_to: &str) -> Reply {
        let path = led_to
            .strip_prefix(PUBLIC_URL)
            .expect("back to the console");
        let mut request = self.client.request(Method::GET, path);
        if let Some(kept) = kept {
            request = request.header("cookie", kept);
        }
        // As a browser says it of what another site has led to.
        let request = request.header("sec-fetch-site", "cross-site");
        self.client.send(request).await
    }

    /// Signs in at the provider, and comes back.
    async fn signs_in(&self, provider: &OauthServer, name: &str) -> Reply {
        let (location, kept) = self.begin().await;
        let led_to = provider.sign_in(&location, Some(name)).await;
        self.complete(Some(&kept), &led_to).await
    }

    async fn session(&self, provider: &OauthServer, name: &str) -> Browser {
        let page = self.signs_in(provider, name).await;
        self.session_of(&page).await
    }

    async fn session_of(&self, page: &Reply) -> Browser {
        Browser::with_session(&self.client, &session_cookie(page)).await
    }
}

/// The cookie of the session that was begun. Beside it the one of the sign-in is removed, and the page
/// leads on by itself.
pub fn session_cookie(page: &Reply) -> String {
    let page = page.clone().expect(200);
    assert!(
        page.text
            .contains("content=\"0; url=/console?signed_in=1\""),
        "{}",
        page.text
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let set = page.headers.get_all("set-cookie").iter();
    let set: Vec<_> = set.map(|set| set.to_str().expect("text")).collect();
    let [session, removed] = &set[..] else {
        panic!("{} cookies", set.len());
    };
    assert!(session.starts_with("token_server_session="));
    assert!(session.ends_with("; HttpOnly; SameSite=Strict"));
    assert_eq!(
        *removed,
        "token_server_sign_in=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    );
    (*session).to_owned()
}

/// Fails the test unless that led back to the page, without a session and with this problem.
#[track_caller]
pub fn came_to_nothing(reply: &Reply, problem: &str) {
    assert_eq!(reply.status, 303, "{}", reply.text);
    let location = format!("/console?problem={problem}");
    assert_eq!(reply.header("location"), Some(&*location));
    let set = reply.headers.get_all("set-cookie").iter();
    let mut set = set.map(|set| set.to_str().expect("text"));
    assert!(!set.any(|set| set.starts_with("token_server_session=")));
}

/// What the audit says of sign-ins by OpenID Connect, newest first.
pub async fn audited(client: &Client, count: usize) -> Vec<Value> {
    eventually("the sign-ins are in the audit", async || {
        let mut entries = client.list("/api/audit").await;
        entries.retain(|entry| {
            let text = entry["detail"].as_str().unwrap_or_default();
            text.contains("OpenID Connect") || text.contains("console.oidc")
        });
        (entries.len() >= count).then_some(entries)
    })
    .await
}

async fn who_signs_in_has_exactly_the_rights_of_the_first_rule_that_his_claims_meet(
    database: TestDatabase,
) {
    let provider = OauthServer::start(0, 60);
    let options = by_oidc(&provider.issuer, Some(CONSOLE_SECRET), &rules());
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    for id in ["r1", "other"] {
        let saved = client.post("/api/realm", &json!({"id": id})).await;
        saved.expect(200);
    }
    let visitor = Visitor::at(&server);
    let bob = visitor.session(&provider, "bob").await;
    let fields = ["caller", "rule", "scopes", "realms", "keys"];
    let shown = |browser: &Browser| json!(fields.map(|field| browser.shown[field].clone()));
    assert_eq!(
        shown(&bob),
        json!(["oidc:bob", 2, ["realm:read"], ["r*"], null])
    );
    bob.get("/api/realm/r1").await.expect(200);
    for path in ["/api/realm/other", "/api/secret", "/api/api-key"] {
        bob.get(path).await.expect_problem(403, "forbidden");
    }
    let alice = visitor.session(&provider, "alice").await;
    assert_eq!(
        shown(&alice),
        json!(["oidc:alice", 1, ["admin"], null, null])
    );
    // A change needs what only the page knows.
    let forged = alice.request(Method::DELETE, "/api/realm/other");
    client.send(forged).await.expect_problem(403, "csrf");
    let forged = bob.change(Method::DELETE, "/api/realm/r1").await;
    forged.expect_problem(403, "forbidden");
    let changed = alice.change(Method::DELETE, "/api/realm/other").await;
    changed.expect(200);
    alice
        .get("/api/token?realm=r1&key=k")
        .await
        .expect_problem(403, "forbidden");
    let ended = alice
        .change(Method::DELETE, "/api/session")
        .await
        .expect(200);
    assert_eq!(
        ended.header("set-cookie"),
        Some("token_server_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
    );
    let said = audited(client, 2).await;
    let fields = ["actor", "action", "target", "outcome", "detail"];
    let said: Vec<_> = said
        .iter()
        .map(|entry| json!(fields.map(|field| entry[field].clone())))
        .collect();
    let begun = |name: &str, rule: u8| {
        let detail = format!("by rule {rule} of console.oidc");
        json!([name, "session.begin", name, "done", detail])
    };
    assert_eq!(said, [begun("oidc:alice", 1), begun("oidc:bob", 2)]);
    let deleted = client
        .list("/api/audit?actor=oidc:alice&action=realm.delete")
        .await;
    assert_eq!(deleted[0]["detail"], "via session");
}

async fn who_meets_no_rule_is_refused_and_named_in_the_audit(database: TestDatabase) {
    let provider = OauthServer::start(0, 60);
    let options = by_oidc(&provider.issuer, Some(CONSOLE_SECRET), &rules());
    let server = Server::start_with(&database, options).await;
    let refused = Visitor::at(&server).signs_in(&provider, "carol").await;
    came_to_nothing(&refused, "no_rule");
    let said = audited(&server.client, 1).await;
    assert_eq!(said[0]["actor"], "oidc:carol");
    assert_eq!(said[0]["outcome"], "denied");
    assert_eq!(said[0]["target"], "/console/sign-in/oidc/callback");
    let detail = "sign-in by OpenID Connect: meets no rule of console.oidc";
    assert_eq!(said[0]["detail"], detail);
}

async fn a_human_who_refuses_is_led_back_and_told_so(database: TestDatabase) {
    let provider = OauthServer::start(0, 60);
    let options = by_oidc(&provider.issuer, Some(CONSOLE_SECRET), &rules());
    let server = Server::start_with(&database, options).await;
    let visitor = Visitor::at(&server);
    let (location, kept) = visitor.begin().await;
    let led_to = provider.sign_in(&location, None).await;
    assert!(led_to.contains("error=access_denied"), "{led_to}");
    let refused = visitor.complete(Some(&kept), &led_to).await;
    came_to_nothing(&refused, "denied");
    let said = audited(&server.client, 1).await;
    assert_eq!(said[0]["actor"], Value::Null);
}

async fn a_sign_in_is_good_once_for_the_browser_that_began_it_and_for_its_ring(
    database: TestDatabase,
) {
    let provider = OauthServer::start(0, 60);
    let options = by_oidc(&provider.issuer, Some(CONSOLE_SECRET), &rules());
    let server = Server::start_with(&database, options.clone()).await;
    let of_another_ring = TestDatabase::sqlite();
    let options = options.with(&[("TOKEN_SERVER__SEALING__KEYS", OTHER_RING)]);
    let foreign = Server::start_with(&of_another_ring, options).await;
    let visitor = Visitor::at(&server);
    let (location, kept) = visitor.begin().await;
    let led_to = provider.sign_in(&location, Some("alice")).await;
    let (_, of_another) = visitor.begin().await;
    let cut = &kept[..kept.len() - 4];
    let twice = format!("{kept}; {kept}");
    for other in [None, Some(&*of_another), Some(cut), Some(&twice)] {
        let refused = visitor.complete(other, &led_to).await;
        came_to_nothing(&refused, "not_under_way");
    }
    let refused = Visitor::at(&foreign).complete(Some(&kept), &led_to).await;
    came_to_nothing(&refused, "not_under_way");
    let asked = provider.issued().await;
    let page = visitor.complete(Some(&kept), &led_to).await;
    let session = visitor.session_of(&page).await;
    session.get("/api/realm").await.expect(200);
    assert_eq!(
        provider.issued().await,
        asked + 1,
        "the code was good until then"
    );
    let again = visitor.complete(Some(&kept), &led_to).await;
    came_to_nothing(&again, "not_under_way");
    // Nor does the session open anything under another ring.
    let stolen = session.at(&foreign.client);
    stolen
        .get("/api/realm")
        .await
        .expect_problem(401, "unauthorized");
}

async fn a_sign_in_goes_on_at_another_replica(database: TestDatabase) {
    let provider = OauthServer::start(0, 60);
    let options = by_oidc(&provider.issuer, Some(CONSOLE_SECRET), &rules());
    let one = Server::start_with(&database, options.clone()).await;
    let other = Server::start_with(&database, options).await;
    let (location, kept) = Visitor::at(&one).begin().await;
    let led_to = provider.sign_in(&location, Some("alice")).await;
    let visitor = Visitor::at(&other);
    let page = visitor.complete(Some(&kept), &led_to).await;
    let session = visitor.session_of(&page).await;
    for server in [&one, &other] {
        session
            .at(&server.client)
            .get("/api/realm")
            .await
            .expect(200);
    }
}

async fn the_sign_in_page_is_told_how_to_sign_in(database: TestDatabase) {
    let issuer = "http://127.0.0.1:1";
    let with = Server::start_with(&database, by_oidc(issuer, None, &rules())).await;
    let without = Server::start(&TestDatabase::sqlite()).await;
    let off = by_oidc(issuer, None, &rules()).with(&[("TOKEN_SERVER__CONSOLE__ENABLED", "false")]);
    let off = Server::start_with(&TestDatabase::sqlite(), off).await;
    let asked = async |server: &Server| server.client.without_key().get("/api/sign-in").await;
    let oidc = json!({"name": "Staff", "url": "http://console.example/console/sign-in/oidc"});
    let told = asked(&with).await.expect(200).json();
    assert_eq!(told["data"]["oidc"], oidc);
    let told = asked(&without).await.expect(200).json();
    assert_eq!(told["data"]["oidc"], Value::Null);
    asked(&off).await.expect_problem(404, "console_disabled");
    let begun = Visitor::at(&off).client.get("/console/sign-in/oidc").await;
    begun.expect(404);
    // The provider is away.
    let begun = Visitor::at(&with).client.get("/console/sign-in/oidc").await;
    came_to_nothing(&begun, "unavailable");
}
