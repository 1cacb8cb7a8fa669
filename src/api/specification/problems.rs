//! The problems that an operation can answer: a named answer for each status, with its codes.

/// One answer of the specification: a status, and the codes that come with it.
#[derive(Debug)]
pub struct ProblemAnswer {
    /// Of the answer in `components/responses`; its model adds `Problem`.
    pub name: &'static str,
    pub status: u16,
    pub codes: &'static [&'static str],
    pub description: &'static str,
}

const fn answer(
    name: &'static str,
    status: u16,
    codes: &'static [&'static str],
    description: &'static str,
) -> ProblemAnswer {
    ProblemAnswer {
        name,
        status,
        codes,
        description,
    }
}

pub const INVALID_PARAMETER: &ProblemAnswer = &answer(
    "InvalidParameter",
    400,
    &["bad_request", "invalid_parameter", "unknown_parameter"],
    "A parameter is missing, unknown, given twice or outside its limits, or the headers can be read in \
     two ways.",
);
pub const INVALID_REQUEST: &ProblemAnswer = &answer(
    "InvalidRequest",
    400,
    &["bad_request", "invalid_parameter", "unknown_parameter"],
    "A parameter is unknown, given twice or outside its limits, or the request cannot be read.",
);
pub const INVALID_BODY: &ProblemAnswer = &answer(
    "InvalidBody",
    400,
    &[
        "bad_request",
        "invalid_parameter",
        "malformed_json",
        "unknown_parameter",
    ],
    "The body is not JSON, or a parameter is not one that this operation takes.",
);
pub const INVALID_SECRET: &ProblemAnswer = &answer(
    "InvalidSecret",
    400,
    &[
        "bad_request",
        "invalid_parameter",
        "malformed_json",
        "unknown_parameter",
        "unknown_realm",
    ],
    "There is no such realm, the body is not JSON, or a parameter is not one that this operation \
     takes.",
);
pub const INVALID_READ: &ProblemAnswer = &answer(
    "InvalidRead",
    400,
    &[
        "bad_request",
        "invalid_parameter",
        "unknown_parameter",
        "unknown_secret",
    ],
    "There is no such secret, a parameter is missing, unknown or outside its limits, or the headers can \
     be read in two ways.",
);
pub const INVALID_RENEWAL: &ProblemAnswer = &answer(
    "InvalidRenewal",
    400,
    &[
        "bad_request",
        "invalid_parameter",
        "malformed_json",
        "unknown_parameter",
        "unknown_secret",
    ],
    "There is no such secret, the body is not JSON, or a parameter is not one that this operation \
     takes.",
);
pub const CHECK_REFUSED: &ProblemAnswer = &answer(
    "CheckRefused",
    400,
    &["bad_request", "invalid_parameter", "push_refused"],
    "The signature, the date or the form of the check is not as it must be.",
);
pub const PUSH_REFUSED: &ProblemAnswer = &answer(
    "PushRefused",
    400,
    &["bad_request", "invalid_parameter", "push_refused"],
    "The signature, the date or the form of the push is not as it must be.",
);
pub const UNAUTHORIZED: &ProblemAnswer = &answer(
    "Unauthorized",
    401,
    &["unauthorized"],
    "No API key was sent, or one that is unknown, expired or revoked; nor a JWT that a registered \
     issuer vouches for and a rule of it lets in.",
);
pub const FORBIDDEN: &ProblemAnswer = &answer(
    "Forbidden",
    403,
    &["forbidden"],
    "The API key lacks the scope, or does not cover this realm and key.",
);
pub const FORBIDDEN_CHANGE: &ProblemAnswer = &answer(
    "ForbiddenChange",
    403,
    &["cross_site", "csrf", "forbidden"],
    "The API key lacks the scope, or does not cover this realm and key; or a page of another site sent \
     this, whatever its key; or it is made by a session, without its `X-CSRF-Token`.",
);
pub const CROSS_SITE: &ProblemAnswer = &answer(
    "CrossSite",
    403,
    &["cross_site"],
    "A page of another site sent this.",
);
pub const UNKNOWN_REALM: &ProblemAnswer = &answer(
    "UnknownRealm",
    404,
    &["unknown_realm"],
    "There is no such realm.",
);
pub const UNKNOWN_SECRET: &ProblemAnswer = &answer(
    "UnknownSecret",
    404,
    &["unknown_secret"],
    "There is no such secret.",
);
pub const UNKNOWN_REALM_OR_SECRET: &ProblemAnswer = &answer(
    "UnknownRealmOrSecret",
    404,
    &["unknown_realm", "unknown_secret"],
    "There is no such realm, or no such secret in it.",
);
pub const NO_CONSOLE: &ProblemAnswer = &answer(
    "NoConsole",
    404,
    &["console_disabled"],
    "The console of this server is switched off (`console.enabled`).",
);
pub const NO_SESSION: &ProblemAnswer = &answer(
    "NoSession",
    404,
    &["console_disabled", "no_session"],
    "The call is made by `Authorization` and not by the cookie of a session, or the console is switched \
     off.",
);
pub const NO_SUCH_PRESET: &ProblemAnswer = &answer(
    "NoSuchPreset",
    404,
    &["unknown_preset"],
    "There is no such preset.",
);
pub const UNKNOWN_PRESET: &ProblemAnswer = &answer(
    "UnknownPreset",
    404,
    &["unknown_preset", "unknown_realm"],
    "There is no such preset, or its realm was deleted at the same time.",
);
pub const UNKNOWN_API_KEY: &ProblemAnswer = &answer(
    "UnknownApiKey",
    404,
    &["unknown_api_key"],
    "There is no such key that is not revoked.",
);
pub const UNKNOWN_ISSUER: &ProblemAnswer = &answer(
    "UnknownIssuer",
    404,
    &["unknown_issuer"],
    "There is no such issuer.",
);
pub const ISSUER_CONFLICT: &ProblemAnswer = &answer(
    "IssuerConflict",
    409,
    &["changed_meanwhile", "issuer_taken"],
    "The tokens of that issuer are registered by another name, or somebody else changed it at the \
     same time.",
);
pub const TAKES_NO_TICKETS: &ProblemAnswer = &answer(
    "TakesNoTickets",
    404,
    &["unknown_realm"],
    "No realm of that name takes tickets.",
);
pub const REQUEST_TIMEOUT: &ProblemAnswer = &answer(
    "RequestTimeout",
    408,
    &["request_timeout"],
    "The body did not arrive in time (`http.body_timeout_s`).",
);
pub const REALM_UNREADABLE: &ProblemAnswer = &answer(
    "RealmUnreadable",
    409,
    &["unreadable_here"],
    "A stored realm cannot be read by this version of the server.",
);
pub const REALM_CONFLICT: &ProblemAnswer = &answer(
    "RealmConflict",
    409,
    &[
        "changed_meanwhile",
        "secrets_lack_params",
        "unreadable_here",
    ],
    "Somebody else changed the realm at the same time, or secrets would come to lack parameters that \
     it requires: make these optional, or ask with `confirm=secrets_lack_params`.",
);
pub const REALM_IN_USE: &ProblemAnswer = &answer(
    "RealmInUse",
    409,
    &["realm_has_secrets"],
    "The realm still has secrets; ask with `cascade=true` to delete them, too.",
);
pub const PRESET_CONFLICT: &ProblemAnswer = &answer(
    "PresetConflict",
    409,
    &[
        "changed_meanwhile",
        "realm_exists",
        "secrets_lack_params",
        "unreadable_here",
    ],
    "There is a realm of that name: choose another, or say `replace`. Or its secrets would come to lack \
     parameters that the preset requires: ask with `confirm=secrets_lack_params`.",
);
pub const PREVIEW_CONFLICT: &ProblemAnswer = &answer(
    "PreviewConflict",
    409,
    &[
        "params_damaged",
        "realm_without_document",
        "unreadable_here",
    ],
    "Nothing is sent for this realm, or what is stored cannot be opened.",
);
pub const SECRET_CONFLICT: &ProblemAnswer = &answer(
    "SecretConflict",
    409,
    &["changed_meanwhile", "realm_not_fixed", "unreadable_here"],
    "The realm takes no fixed tokens, somebody else changed the secret at the same time, or this \
     server cannot open it.",
);
pub const NAME_TAKEN: &ProblemAnswer = &answer(
    "NameTaken",
    409,
    &["name_taken"],
    "There is an API key of that name.",
);
pub const BODY_TOO_LARGE: &ProblemAnswer = &answer(
    "BodyTooLarge",
    413,
    &["body_too_large"],
    "The body is larger than `http.max_body_bytes`.",
);
pub const UNSUPPORTED_MEDIA_TYPE: &ProblemAnswer = &answer(
    "UnsupportedMediaType",
    415,
    &["unsupported_media_type"],
    "The body must be sent as `application/json`.",
);
pub const FIXED_TOKEN: &ProblemAnswer = &answer(
    "FixedToken",
    417,
    &["fixed_token_flushed", "fixed_token_missing"],
    "The realm is one of fixed tokens: none that is valid is stored, or a flush was asked for.",
);
pub const INVALID_DOCUMENT: &ProblemAnswer = &answer(
    "InvalidDocument",
    422,
    &["invalid_document"],
    "The body is refused; `errors` says where and why. Nothing was stored.",
);
pub const HEADERS_TOO_LARGE: &ProblemAnswer = &answer(
    "HeadersTooLarge",
    431,
    &["headers_too_large"],
    "The request line and the headers are larger than `http.max_header_bytes`.",
);
pub const TOO_MANY_REQUESTS: &ProblemAnswer = &answer(
    "TooManyRequests",
    429,
    &["too_many_requests"],
    "The API key makes more calls a second than its rate allows, or the address makes more without a \
     good key; `Retry-After` says when to come again.",
);
pub const TOO_MANY_WATCHES: &ProblemAnswer = &answer(
    "TooManyWatches",
    429,
    &["too_many_requests", "too_many_watchers"],
    "The caller watches as many tokens at once as one may (`http.caller_watchers_max`), or the API key \
     makes more calls a second than its rate allows, or the address makes more without a good key; \
     `Retry-After` says when to come again.",
);
pub const INTERNAL: &ProblemAnswer = &answer(
    "Internal",
    500,
    &["internal"],
    "The server failed; its log says more under the `request_id`.",
);
pub const DATABASE_UNAVAILABLE: &ProblemAnswer = &answer(
    "DatabaseUnavailable",
    503,
    &["database_unavailable", "issuer_unavailable"],
    "The database cannot be reached, or is too busy; or the keys of the issuer of a JWT cannot be \
     fetched.",
);
pub const TOO_MANY_STREAMS: &ProblemAnswer = &answer(
    "TooManyStreams",
    503,
    &[
        "database_unavailable",
        "issuer_unavailable",
        "too_many_streams",
    ],
    "As many streams are open as there may be, of this caller or of all (`console.event_streams_max`, \
     `console.caller_event_streams_max`); or the database does not say whether the API key is good.",
);
pub const NOT_READY: &ProblemAnswer = &answer(
    "NotReady",
    503,
    &["not_ready"],
    "The server cannot do its work now; `detail` says why.",
);
pub const METRICS_UNAVAILABLE: &ProblemAnswer = &answer(
    "MetricsUnavailable",
    503,
    &["database_unavailable", "issuer_unavailable", "not_ready"],
    "The database does not say whether the API key is good, or the metrics cannot be written.",
);
pub const TOKEN_UNAVAILABLE: &ProblemAnswer = &answer(
    "TokenUnavailable",
    503,
    &[
        "database_unavailable",
        "issuer_unavailable",
        "token_unavailable",
        "unreadable_here",
    ],
    "There is no valid token now; `detail` and `class` say why, `Retry-After` when to ask again.",
);
pub const WATCH_UNAVAILABLE: &ProblemAnswer = &answer(
    "WatchUnavailable",
    503,
    &[
        "database_unavailable",
        "issuer_unavailable",
        "token_unavailable",
        "too_many_watchers",
        "unreadable_here",
    ],
    "There is no valid token now, or as many are watched as this server allows \
     (`http.watchers_max`); `detail` and `class` say why, `Retry-After` when to ask again.",
);
pub const INBOX_UNAVAILABLE: &ProblemAnswer = &answer(
    "InboxUnavailable",
    503,
    &["busy", "database_unavailable"],
    "Other pushes are being handled, or the database cannot be reached; send it again.",
);
