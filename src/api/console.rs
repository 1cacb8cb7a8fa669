//! The pages of the console. They are files that were compiled in; a binary without them says so.

use poem::endpoint::make_sync;
use poem::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, VARY,
};
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};

use super::console_files::{ConsoleFile, ConsoleFiles};
use super::{browser, preconditions};

/// Where the console is.
pub const CONSOLE: &str = "/console";

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Is asked for each time; what is known already is not sent again.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const BY_CODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");

/// The page loads and runs its own files and asks this server only. Its library of controls makes
/// styles while it runs, so these may stand in the page; scripts may not.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const WITHOUT: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>token-server</title>\n\
    <style>body { font: 1rem/1.5 sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem }</style>\n\
    <h1>token-server</h1>\n\
    <p>This binary was built without the console: <code>make console</code> builds that, and after it \
    <code>cargo build</code> takes it in.</p>\n\
    <p><a href=\"/docs\">Swagger UI</a> shows every call of the API.</p>\n</html>\n";

/// What is served at and below [`CONSOLE`].
pub fn pages(files: Option<ConsoleFiles>) -> impl Endpoint<Output = Response> {
    let without = without();
    make_sync(move |request: Request| match &files {
        Some(files) => shown(files, &request),
        None => Ok(without()),
    })
}

/// Makes the page of a binary that has none.
fn without() -> impl Fn() -> Response {
    let policy = browser::policy_of(WITHOUT);
    move || {
        Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(CONTENT_SECURITY_POLICY, &policy)
            .header(CACHE_CONTROL, NO_CACHE)
            .body(WITHOUT)
    }
}

fn shown(files: &ConsoleFiles, request: &Request) -> poem::Result<Response> {
    let path = request.uri().path().strip_prefix(CONSOLE);
    let file = files.at(path.unwrap_or_default());
    let file = file.ok_or(StatusCode::NOT_FOUND)?;
    Ok(answer(file, request.headers()))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn answer(file: &ConsoleFile, asked: &HeaderMap) -> Response {
    let form = file.form_for(text(asked, &ACCEPT_ENCODING));
    let mut response = match preconditions::is_known(asked, form.tag.as_bytes()) {
        true => StatusCode::NOT_MODIFIED.into(),
        false => Response::builder()
            .content_type(file.media_type)
            .body(form.bytes.clone()),
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, form.tag.clone());
    headers.insert(VARY, BY_CODING);
    headers.insert(
        CACHE_CONTROL,
        match file.is_for_ever {
            true => FOR_EVER,
            false => NO_CACHE,
        },
    );
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    if let Some(coding) = form.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}

#[cfg(test)]
mod tests {
    use poem::http::header::IF_NONE_MATCH;

    use super::*;

    async fn asked(path: &str, headers: &[(HeaderName, &str)]) -> poem::Result<Response> {
        let files = ConsoleFiles::made_of(&[
            ("index.html", "page"),
            ("assets/a.js", "plain"),
            ("assets/a.js.br", "brotli"),
        ]);
        let mut request = Request::builder().uri_str(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        pages(files).call(request.finish()).await
    }

    fn said<'a>(response: &'a Response, name: &HeaderName) -> &'a str {
        text(response.headers(), name).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_file_that_its_content_names_is_kept_for_ever_and_the_page_is_asked_for_each_time() {
        let asset = asked("/console/assets/a.js", &[(ACCEPT_ENCODING, "br")]).await;
        let asset = asset.unwrap();
        assert_eq!(
            said(&asset, &CACHE_CONTROL),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(said(&asset, &CONTENT_ENCODING), "br");
        assert_eq!(said(&asset, &VARY), "Accept-Encoding");
        assert_eq!(asset.into_body().into_string().await.unwrap(), "brotli");
        for path in ["/console", "/console/", "/console/secrets/r/k"] {
            let page = asked(path, &[(ACCEPT_ENCODING, "br")]).await.unwrap();
            assert_eq!(said(&page, &CACHE_CONTROL), "no-cache", "{path}");
            assert_eq!(said(&page, &CONTENT_ENCODING), "", "{path}");
            let policy = said(&page, &CONTENT_SECURITY_POLICY);
            assert!(policy.contains("script-src 'self';"), "{policy}");
            assert_eq!(page.into_body().into_string().await.unwrap(), "page");
        }
        let missing = asked("/console/assets/b.js", &[]).await.err();
        assert_eq!(missing.unwrap().status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let page = asked("/console", &[]).await.unwrap();
        let tag = said(&page, &ETAG).to_owned();
        for (known, status) in [
            (tag.clone(), 304),
            (format!("\"a\", W/{tag}"), 304),
            ("*".to_owned(), 304),
            ("\"a\"".to_owned(), 200),
            (String::new(), 200),
        ] {
            let again = asked("/console", &[(IF_NONE_MATCH, &known)]).await.unwrap();
            assert_eq!(again.status(), status, "{known}");
            assert_eq!(said(&again, &ETAG), tag);
        }
        // Another form is another content.
        let known = [(IF_NONE_MATCH, tag.as_str()), (ACCEPT_ENCODING, "br")];
        let asset = asked("/console/assets/a.js", &known).await.unwrap();
        assert_eq!(asset.status(), 200);
    }

    #[tokio::test]
    async fn a_binary_without_the_console_says_so_and_leads_to_swagger_ui() {
        let request = Request::builder().uri_str("/console/secrets").finish();
        let page = pages(None).call(request).await.unwrap();
        assert!(!said(&page, &CONTENT_SECURITY_POLICY).contains("unsafe"));
        let page = page.into_body().into_string().await.unwrap();
        assert!(page.contains("without the console") && page.contains("href=\"/docs\""));
    }
}
