//! What the handlers cannot say of themselves: what a 200 holds, the limits of parameters and
//! the problems of each operation, beside those that many have.

use serde_json::{Value, json};

use super::operation::{Operation, Parameter, operation};
use super::problems as problem;
use crate::access::issuer::IssuerName;
use crate::api::named_models as named;
use crate::api::renewals::RUN_TIMEOUT_MAX_S;
use crate::api::tokens::{Included, MIN_TTL_MAX_S};
use crate::foundation::ids::name_schema;
use crate::foundation::page::{PAGE_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::foundation::words::words;
use crate::registry::Confirmation;

fn any() -> Value {
    json!({})
}

fn page() -> Value {
    json!({"minimum": 1, "maximum": PAGE_MAX, "default": 1})
}

fn page_size() -> Value {
    json!({"minimum": 1, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE_DEFAULT})
}

fn min_ttl_s() -> Value {
    json!({"minimum": 0, "maximum": MIN_TTL_MAX_S, "default": 0})
}

fn run_timeout_s() -> Value {
    json!({"minimum": 1, "maximum": RUN_TIMEOUT_MAX_S})
}

fn included() -> Value {
    json!({"enum": words(Included::ALL, Included::as_str)})
}

fn generation() -> Value {
    json!({"minimum": 0, "maximum": i64::MAX})
}

fn row_id() -> Value {
    json!({"minimum": 1, "maximum": i64::MAX})
}

fn state() -> Value {
    named::SECRET_STATE.reference()
}

fn category() -> Value {
    named::PRESET_CATEGORY.reference()
}

fn country() -> Value {
    json!({"pattern": "^[A-Za-z]{2}$", "minLength": 2, "maxLength": 2})
}

fn outcome() -> Value {
    named::RENEWAL_OUTCOME.reference()
}

fn no() -> Value {
    json!({"default": false})
}

fn confirmation() -> Value {
    json!({"enum": words(Confirmation::ALL, Confirmation::as_str)})
}

fn issuer_name() -> Value {
    json!({"minLength": 1, "maxLength": IssuerName::MAX_CHARS, "pattern": IssuerName::PATTERN})
}

/// A part of a path is never empty.
fn part() -> Value {
    json!({"minLength": 1})
}

const PAGE: Parameter = Parameter("page", page);
const PAGE_SIZE: Parameter = Parameter("pageSize", page_size);
const REALM: Parameter = Parameter("realm", name_schema);
const KEY: Parameter = Parameter("key", name_schema);
const REALM_ID: Parameter = Parameter("id", name_schema);
const ISSUER_NAME: Parameter = Parameter("name", issuer_name);
const KEYWORD: Parameter = Parameter("keyword", any);
const DRY_RUN: Parameter = Parameter("dry_run", no);
const CONFIRM: Parameter = Parameter("confirm", confirmation);
/// These filter by equality, and may be any text.
const OF_REALM: Parameter = Parameter("realm", any);
const OF_KEY: Parameter = Parameter("key", any);

pub const OPERATIONS: &[Operation] = &[
    operation(
        "getToken",
        "A token that is valid now.",
        &[
            REALM,
            KEY,
            Parameter("flush", any),
            Parameter("min_ttl_s", min_ttl_s),
            Parameter("generation", generation),
        ],
        &[
            problem::INVALID_READ,
            // A flush changes something.
            problem::FORBIDDEN_CHANGE,
            problem::FIXED_TOKEN,
            problem::TOKEN_UNAVAILABLE,
        ],
    ),
    operation(
        "watchToken",
        "Events as they come.",
        &[REALM, KEY, Parameter("include", included)],
        &[
            problem::INVALID_READ,
            problem::FIXED_TOKEN,
            problem::TOO_MANY_WATCHES,
            problem::WATCH_UNAVAILABLE,
        ],
    ),
    operation(
        "flushToken",
        "The new token; or the current one, with the reason why it was not renewed.",
        &[],
        &[
            problem::INVALID_RENEWAL,
            problem::FIXED_TOKEN,
            problem::TOKEN_UNAVAILABLE,
        ],
    ),
    operation(
        "reportToken",
        "A token other than the one that was reported; or the same, with the reason why it was not \
         renewed.",
        &[],
        &[
            problem::INVALID_RENEWAL,
            problem::FIXED_TOKEN,
            problem::TOKEN_UNAVAILABLE,
        ],
    ),
    operation(
        "saveFixedToken",
        "The token is stored.",
        &[],
        &[problem::UNKNOWN_REALM_OR_SECRET, problem::SECRET_CONFLICT],
    ),
    operation(
        "checkTicketUrl",
        "What the provider wants to read.",
        &[REALM],
        &[
            problem::CHECK_REFUSED,
            problem::TAKES_NO_TICKETS,
            problem::INBOX_UNAVAILABLE,
        ],
    ),
    operation(
        "receiveTicket",
        "What the provider wants to read.",
        &[REALM],
        &[
            problem::PUSH_REFUSED,
            problem::TAKES_NO_TICKETS,
            problem::INBOX_UNAVAILABLE,
        ],
    ),
    operation(
        "listSecrets",
        "A page of secrets.",
        &[
            PAGE,
            PAGE_SIZE,
            OF_REALM,
            Parameter("state", state),
            KEYWORD,
        ],
        &[],
    ),
    operation(
        "getEvents",
        "Events, until the credential ends or the server stops.",
        &[],
        &[problem::TOO_MANY_STREAMS],
    ),
    operation(
        "saveSecret",
        "The secret as it is stored, masked; or with `dry_run` as it would be.",
        &[DRY_RUN],
        &[
            problem::INVALID_SECRET,
            problem::UNKNOWN_SECRET,
            problem::SECRET_CONFLICT,
        ],
    ),
    operation(
        "getSecret",
        "The secret, masked.",
        &[REALM, KEY],
        &[problem::UNKNOWN_SECRET],
    ),
    operation(
        "deleteSecret",
        "The secret is deleted, with what is told; or with `dry_run` it would be.",
        &[REALM, KEY, DRY_RUN],
        &[problem::UNKNOWN_SECRET],
    ),
    operation(
        "pauseSecret",
        "The secret, paused.",
        &[REALM, KEY],
        &[problem::UNKNOWN_SECRET],
    ),
    operation(
        "resumeSecret",
        "The secret, renewed again.",
        &[REALM, KEY],
        &[problem::UNKNOWN_SECRET],
    ),
    operation(
        "listRealms",
        "A page of realms.",
        &[PAGE, PAGE_SIZE, KEYWORD],
        &[problem::REALM_UNREADABLE],
    ),
    operation(
        "saveRealm",
        "The realm as it is stored; or with `dry_run` as it would be.",
        &[DRY_RUN, CONFIRM],
        &[problem::UNKNOWN_REALM, problem::REALM_CONFLICT],
    ),
    operation(
        "getRealm",
        "The realm.",
        &[REALM_ID],
        &[problem::UNKNOWN_REALM, problem::REALM_UNREADABLE],
    ),
    operation(
        "deleteRealm",
        "The realm is deleted, with what is told; or with `dry_run` it would be.",
        &[REALM_ID, Parameter("cascade", no), DRY_RUN],
        &[problem::UNKNOWN_REALM, problem::REALM_IN_USE],
    ),
    operation(
        "previewRealm",
        "The requests, masked. Nothing was sent.",
        &[REALM_ID, KEY],
        &[problem::UNKNOWN_REALM_OR_SECRET, problem::PREVIEW_CONFLICT],
    ),
    operation(
        "testRealm",
        "The requests, masked, and how the answers were read. Nothing was stored.",
        &[],
        &[],
    ),
    operation(
        "listPresets",
        "A page of presets.",
        &[
            PAGE,
            PAGE_SIZE,
            KEYWORD,
            Parameter("category", category),
            Parameter("country", country),
        ],
        &[],
    ),
    operation(
        "getPreset",
        "The preset.",
        &[Parameter("id", part)],
        &[problem::NO_SUCH_PRESET],
    ),
    operation(
        "registerPreset",
        "The realm as it is stored; or with `dry_run` as it would be.",
        &[Parameter("id", part), DRY_RUN, CONFIRM],
        &[problem::UNKNOWN_PRESET, problem::PRESET_CONFLICT],
    ),
    operation(
        "listRenewals",
        "A page of attempts.",
        &[
            PAGE,
            PAGE_SIZE,
            OF_REALM,
            OF_KEY,
            Parameter("outcome", outcome),
        ],
        &[],
    ),
    operation(
        "runRenewals",
        "What was done.",
        &[REALM, Parameter("timeout_s", run_timeout_s)],
        &[],
    ),
    operation("getSignIn", "How to sign in.", &[], &[problem::NO_CONSOLE]),
    operation(
        "createSession",
        "The session; its cookie is set.",
        &[],
        &[problem::NO_CONSOLE],
    ),
    operation(
        "getSession",
        "The session; its cookie is set anew where it was prolonged.",
        &[],
        &[problem::NO_SESSION],
    ),
    operation(
        "endSession",
        "The cookie is removed.",
        &[],
        &[problem::NO_SESSION],
    ),
    operation(
        "listApiKeys",
        "A page of API keys, without the keys themselves.",
        &[PAGE, PAGE_SIZE],
        &[],
    ),
    operation(
        "createApiKey",
        "The key. It is shown this once.",
        &[],
        &[problem::NAME_TAKEN],
    ),
    operation(
        "revokeApiKey",
        "The key is revoked.",
        &[Parameter("id", row_id)],
        &[problem::UNKNOWN_API_KEY],
    ),
    operation("listIssuers", "A page of issuers.", &[PAGE, PAGE_SIZE], &[]),
    operation(
        "getIssuer",
        "The issuer.",
        &[ISSUER_NAME],
        &[problem::UNKNOWN_ISSUER],
    ),
    operation(
        "saveIssuer",
        "The issuer as it is stored.",
        &[ISSUER_NAME],
        &[problem::ISSUER_CONFLICT],
    ),
    operation(
        "deleteIssuer",
        "The issuer is deleted.",
        &[ISSUER_NAME],
        &[problem::UNKNOWN_ISSUER],
    ),
    operation(
        "listAuditEntries",
        "A page of the audit.",
        &[
            PAGE,
            PAGE_SIZE,
            Parameter("actor", any),
            Parameter("action", any),
            Parameter("target", any),
            Parameter("since", any),
            Parameter("until", any),
        ],
        &[],
    ),
    operation("getSettings", "The configuration in effect.", &[], &[]),
    operation("getOverview", "How all secrets are.", &[], &[]),
    operation("getHealth", "The process is alive.", &[], &[]),
    operation(
        "getReadiness",
        "The server can do its work.",
        &[],
        &[problem::NOT_READY],
    ),
    operation(
        "getMetrics",
        "The metrics, as OpenMetrics 1.0 writes them.",
        &[],
        &[problem::METRICS_UNAVAILABLE],
    ),
];
