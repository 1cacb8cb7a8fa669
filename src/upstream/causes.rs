//! What is below an error.

use std::error::Error;
use std::io;

/// The error and what is below it, of which an error of IO hides the one that it wraps.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
        Some(cause)
    })
}

/// What is no message of HTTP, or comes before anything was asked: that has no name of its own,
/// and nothing below it.
pub(super) fn is_no_http(cause: &(dyn Error + 'static)) -> bool {
    let http = cause.downcast_ref::<hyper::Error>();
    http.is_some_and(|http| {
        let named = http.is_user()
            || http.is_canceled()
            || http.is_closed()
            || http.is_incomplete_message()
            || http.is_body_write_aborted()
            || http.is_timeout();
        http.is_parse() || (!named && http.source().is_none())
    })
}
