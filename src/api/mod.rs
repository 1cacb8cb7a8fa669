//! The porch: authenticate, parse, one call, map. One file for each group of paths.

mod api_keys;
mod audits;
mod auth;
mod body;
mod dry_runs;
mod front;
mod group;
mod health;
mod hot;
mod http;
mod lists;
mod parameters;
mod paths;
mod presets;
mod problem;
mod realms;
mod renewals;
mod secrets;
mod tickets;
mod tokens;
mod warnings;

use poem::{Endpoint, EndpointExt, Route};
use poem_openapi::OpenApiService;

use crate::app::App;
use crate::realm::schema;
use front::Front;
use paths::Paths;

type Apis = (
    realms::Realms,
    dry_runs::DryRuns,
    presets::Presets,
    secrets::Secrets,
    tokens::Tokens,
    tickets::Tickets,
    renewals::RenewalApi,
    api_keys::ApiKeys,
    audits::Audits,
    health::Health,
);

/// The API as it stands in the specification. Needs no database.
pub fn service() -> OpenApiService<Apis, ()> {
    let apis = (
        realms::Realms,
        dry_runs::DryRuns,
        presets::Presets,
        secrets::Secrets,
        tokens::Tokens,
        tickets::Tickets,
        renewals::RenewalApi,
        api_keys::ApiKeys,
        audits::Audits,
        health::Health,
    );
    OpenApiService::new(apis, "token-server", env!("CARGO_PKG_VERSION")).description(
        "Holds the credentials of third-party APIs, renews every token before it expires, \
         and hands tokens to applications.",
    )
}

/// The specification, as it is committed.
pub fn specification() -> String {
    let mut text = service().spec();
    text.push('\n');
    text
}

/// The JSON Schema of the realm document.
#[poem::handler]
fn realm_schema() -> poem::Response {
    poem::Response::builder()
        .content_type("application/schema+json")
        .body(schema::text())
}

/// Everything that is served.
pub fn routes(app: App) -> impl Endpoint {
    let service = service();
    let paths = Paths::of(&service.spec());
    let routes = Route::new()
        .nest("/docs", service.swagger_ui())
        .at("/openapi.json", service.spec_endpoint())
        .at("/openapi.yaml", service.spec_endpoint_yaml())
        .at("/realm.schema.json", poem::get(realm_schema))
        .nest("/", service)
        .data(app.clone());
    Front::new(routes, paths, app)
}
