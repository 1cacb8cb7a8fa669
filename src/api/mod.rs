//! The porch: authenticate, parse, one call, map. One file for each group of paths.

mod admission;
mod api_keys;
mod audits;
mod auth;
mod body;
mod browser;
mod changes;
mod console;
mod console_files;
mod cookies;
mod credential;
mod dry_runs;
mod event_stream;
mod events;
mod extract;
mod forwarded;
mod front;
mod group;
mod head;
mod health;
mod hot;
mod http;
mod issuers;
mod lists;
mod named_models;
mod overview;
mod parameters;
mod paths;
mod preconditions;
mod presets;
mod problem;
mod realms;
mod renewals;
mod secrets;
mod sessions;
mod settings;
mod sign_in;
mod specification;
mod tickets;
mod tokens;
mod warnings;

use std::sync::{Arc, LazyLock, OnceLock};

use poem::endpoint::make_sync;
use poem::http::header;
use poem::web::Redirect;
use poem::{Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, ServerObject};
use serde_json::Value;

use crate::access::scope::Scope;
use crate::app::App;
use crate::foundation::words::words;
use crate::issuers::sign_in::{BEGIN_PATH, CALLBACK_PATH};
use crate::realm::schema;
use console::CONSOLE;
use console_files::ConsoleFiles;
use front::Front;
pub use http::HeldBack;
use paths::Paths;

type Apis = (
    realms::Realms,
    dry_runs::DryRuns,
    presets::Presets,
    secrets::Secrets,
    events::EventApi,
    tokens::Tokens,
    tickets::Tickets,
    renewals::RenewalApi,
    sessions::SessionApi,
    api_keys::ApiKeys,
    issuers::IssuerApi,
    audits::Audits,
    overview::OverviewApi,
    settings::SettingsApi,
    health::Health,
);

/// The API as it stands in the specification. Needs no database.
pub fn service() -> OpenApiService<Apis, ()> {
    let apis = (
        realms::Realms,
        dry_runs::DryRuns,
        presets::Presets,
        secrets::Secrets,
        events::EventApi,
        tokens::Tokens,
        tickets::Tickets,
        renewals::RenewalApi,
        sessions::SessionApi,
        api_keys::ApiKeys,
        issuers::IssuerApi,
        audits::Audits,
        overview::OverviewApi,
        settings::SettingsApi,
        health::Health,
    );
    OpenApiService::new(apis, "token-server", env!("CARGO_PKG_VERSION"))
        .description(description())
        .contact(ContactObject::new().name(env!("CARGO_PKG_AUTHORS")))
        .license(LicenseObject::new(LICENSE).identifier(LICENSE))
        .server(ServerObject::new("/").description("This server"))
}

/// Where Swagger UI is.
const DOCUMENTATION: &str = "/docs";

/// By its SPDX expression.
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

fn description() -> String {
    let scopes = words(Scope::ALL, Scope::as_str);
    let (last, others) = scopes.split_last().unwrap_or((&"", &[]));
    let scopes = format!("`{}` and `{last}`", others.join("`, `"));
    format!(
        "Holds the credentials of third-party APIs, renews every token before it expires, and hands \
        tokens to applications.\n\n\
        Send an API key as `Authorization: Bearer KEY`, or as the password of Basic authentication; or, \
        in the same place, a JWT of an issuer that is registered (`/api/issuer`). The console sends the \
        cookie of a session instead (`/api/session`), and `X-CSRF-Token` with each change. \
        Each operation asks for one of the scopes {scopes}.\n\n\
        Errors are problem documents (RFC 9457): match on `code`, show `detail`, and look for \
        `request_id` in the log. Names that end in `_s` are in seconds, in `_ms` in milliseconds; \
        dates are RFC 3339 in UTC."
    )
}

/// What is generated of the API: the same for every server of this binary, and made once.
struct Generated {
    /// The specification, as it is committed.
    json: String,
    paths: Paths,
    /// Few ask for the others, which take longest to make: they are made when somebody does.
    yaml: OnceLock<String>,
    documentation: OnceLock<Documentation>,
}

/// Swagger UI, which runs what the page itself holds and nothing else.
struct Documentation {
    page: String,
    policy: String,
}

static GENERATED: LazyLock<Generated> = LazyLock::new(|| {
    let document = specification::complete(&service().spec());
    Generated {
        json: format!("{document:#}\n"),
        paths: Paths::of(&document),
        yaml: OnceLock::new(),
        documentation: OnceLock::new(),
    }
});

impl Generated {
    fn yaml(&self) -> &str {
        self.yaml.get_or_init(|| {
            let document = serde_json::from_str::<Value>(&self.json).unwrap_or_default();
            serde_yaml::to_string(&document).unwrap_or_default()
        })
    }

    fn documentation(&self) -> &Documentation {
        self.documentation.get_or_init(|| {
            let service = service();
            let page = service.swagger_ui_html();
            let page = page.replace(&service.spec(), &self.json);
            Documentation {
                policy: browser::policy_of(&page),
                page,
            }
        })
    }
}

/// The specification, as it is committed.
pub fn specification() -> &'static str {
    &GENERATED.json
}

/// A text that is served to whoever asks for it.
fn page(content_type: &'static str, text: fn() -> &'static str) -> impl Endpoint {
    poem::get(make_sync(move |_| {
        let page = Response::builder().content_type(content_type);
        page.body(text())
    }))
}

#[poem::handler]
fn documentation() -> Response {
    let documentation = GENERATED.documentation();
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header(header::CONTENT_SECURITY_POLICY, &documentation.policy)
        .body(documentation.page.as_str())
}

/// The JSON Schema of the realm document.
#[poem::handler]
fn realm_schema() -> Response {
    Response::builder()
        .content_type("application/schema+json")
        .body(schema::text())
}

/// Whoever opens the server in a browser is led to its first page.
async fn led<E: Endpoint>(
    api: Arc<E>,
    request: Request,
    first_page: &'static str,
) -> poem::Result<Response> {
    match request.uri().path() {
        "/" => Ok(Redirect::see_other(first_page).into_response()),
        _ => api.call(request).await.map(IntoResponse::into_response),
    }
}

/// Whether the console was compiled in.
pub fn has_console() -> bool {
    ConsoleFiles::built_in().is_some()
}

/// Everything that is served.
pub fn routes(app: App) -> impl Endpoint {
    let console = app.settings.console.enabled;
    let files = ConsoleFiles::built_in().filter(|_| console);
    let first_page = match files {
        Some(_) => CONSOLE,
        None => DOCUMENTATION,
    };
    let mut routes = Route::new();
    if console {
        if let Some(by_oidc) = &app.sign_in {
            let (begin, complete) = (sign_in::begin, sign_in::complete);
            routes = routes
                .at(BEGIN_PATH, poem::get(begin.data(by_oidc.clone())))
                .at(CALLBACK_PATH, poem::get(complete.data(by_oidc.clone())));
        }
        let pages = Arc::new(console::pages(files));
        routes = routes
            .at(CONSOLE, poem::get(pages.clone()))
            .at(format!("{CONSOLE}/*path"), poem::get(pages));
    }
    let routes = routes
        .at(DOCUMENTATION, poem::get(documentation))
        .at("/docs/", poem::get(documentation))
        .at(
            "/openapi.yaml",
            page("application/yaml", || GENERATED.yaml()),
        )
        .at("/openapi.json", page("application/json", specification))
        .at("/realm.schema.json", poem::get(realm_schema))
        .nest(
            "/",
            service()
                .into_endpoint()
                .around(move |api, request| led(api, request, first_page)),
        )
        .data(app.clone());
    Front::new(routes, &GENERATED.paths, app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_specification_name_nothing_that_is_not_there_and_miss_nothing() {
        let missing = specification::missing(&service().spec());
        assert_eq!(missing, [] as [String; 0]);
    }
}
