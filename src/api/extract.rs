//! What several handlers take: which page, which secret, which of a closed list.
//!
//! The framework knows one parameter of each argument only: `specification/parameters.rs` has
//! the specification list these.

use poem::web::Path;
use poem::{FromRequest, Request, RequestBody};
use serde::Deserialize;

use super::http::{note_realm, note_secret};
use super::problem::Problem;
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::page::{PAGE_SIZE_DEFAULT, Page};
use crate::foundation::words::words;

/// The page that a query asks for: `page` and `pageSize`.
pub struct Paging(pub Page);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    page: Option<u64>,
    page_size: Option<u64>,
}

impl<'a> FromRequest<'a> for Paging {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        // `parameters.rs` has refused a number that cannot be read, by its name.
        let numbers = request.params::<Numbers>().map_err(|_unreadable| {
            Problem::bad_request("invalid_parameter", "The query cannot be read.")
        })?;
        let (number, size) = (numbers.page, numbers.page_size);
        let page = Page::new(number.unwrap_or(1), size.unwrap_or(PAGE_SIZE_DEFAULT));
        Ok(Self(page.map_err(Problem::from)?))
    }
}

/// The secret that a path names: `/:realm/:key`.
pub struct SecretPath {
    pub realm: RealmId,
    pub key: KeyName,
}

impl<'a> FromRequest<'a> for SecretPath {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let parts = Path::<(String, String)>::from_request(request, body).await?;
        let (realm, key) = parts.0;
        let (realm, key) = names(realm, key)?;
        Ok(Self { realm, key })
    }
}

/// One of a closed list, which a query names by its word; none where it names none.
///
/// # Errors
/// A problem that lists the words, where the text is none of them.
pub fn one_of<T: Copy>(
    name: &str,
    text: Option<String>,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let named = all.iter().copied().find(|one| word(*one) == text);
    let why = || format!("must be one of {}", words(all, word).join(", "));
    named
        .map(Some)
        .ok_or_else(|| Problem::invalid_parameter(name, why()))
}

/// The secret that a request names.
///
/// # Errors
/// A problem that names the part which is no name.
pub fn names(realm: String, key: String) -> Result<(RealmId, KeyName), Problem> {
    let key = KeyName::new(key).map_err(|error| Problem::of_name("key", &error))?;
    let realm = realm_id(realm)?;
    note_secret(&realm, &key);
    Ok((realm, key))
}

/// The realm that a request names.
///
/// # Errors
/// A problem, where it is no name.
pub fn realm_id(text: String) -> Result<RealmId, Problem> {
    let realm = RealmId::new(text).map_err(|error| Problem::of_name("realm", &error))?;
    note_realm(&realm);
    Ok(realm)
}
