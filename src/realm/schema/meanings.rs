//! What the fields of a realm document mean.

/// By their place: fields below lists, maps and requests of their own stand once.
pub(super) const MEANINGS: &[(&str, &str)] = &[
    (
        "params",
        "What a secret must give, by name. Absent: key_1 to key_5, all optional.",
    ),
    (
        "params.title",
        "For whoever fills it in: what it is, and where to find it.",
    ),
    (
        "params.secret",
        "Whether a console hides it. Default: true.",
    ),
    ("params.optional", "Whether a secret may leave it out."),
    ("params.default", "Its value where a secret leaves it out."),
    (
        "params.pattern",
        "A regular expression that the whole of a value must match.",
    ),
    (
        "params.enum",
        "The values it may have, instead of a pattern. They are shown to everyone who may see the realm.",
    ),
    (
        "let",
        "Names for values that are used more than once, each a template. In scope wherever what they use is; evaluated anew for each request, where they are used. One that is made of an unset value is unset.",
    ),
    (
        "allowed_hosts",
        "Hosts, such as api.example.com or *.example.com, to which stored.extra may lead a request beside those of the registered domain of the URL that is made without it.",
    ),
    (
        "proxy",
        "The proxy that its requests go through, by its name in the server's configuration, or direct. Absent: the server's upstream.proxy, if it has one.",
    ),
    (
        "trace_context",
        "Whether its requests carry a traceparent header (W3C Trace Context), where the server makes traces. A header of that name among the arguments comes first.",
    ),
    (
        "url",
        "Template. An expression may be a whole URL at the beginning, host[:port][/path], a part of the host, or stand in path and query, where its value is percent-encoded. Absent, with token: the token is made here, without HTTP.",
    ),
    ("method", "The method of the request."),
    ("arguments", "What is sent."),
    (
        "arguments.name",
        "The name. In a JSON or XML body, / nests (~1 stands for a slash). In XML, @name at the end is an attribute, and #text the text beside attributes.",
    ),
    (
        "arguments.place",
        "Where it stands. On GET, body arguments go to the query.",
    ),
    (
        "arguments.value",
        "Any JSON; every string in it is a template. Exactly one $name or ${…} keeps its type.",
    ),
    (
        "arguments.optional",
        "Left out where its value, or any part of it, is unset or made of what is unset; otherwise that is a failure.",
    ),
    (
        "content_type",
        "The encoding of the request's body. Default: json.",
    ),
    (
        "body",
        "The whole body as one template, instead of body arguments.",
    ),
    (
        "client_auth",
        "Client authentication, by its RFC 7591 or RFC 8705 name.",
    ),
    (
        "client_auth.method",
        "client_secret_jwt and private_key_jwt send an assertion (RFC 7523).",
    ),
    ("client_auth.client_id", "Template."),
    ("client_auth.client_secret", "Template."),
    (
        "client_auth.encoding",
        "For Basic: form-encoded before Base64 (rfc6749, the default), or as they are (raw).",
    ),
    (
        "assertion",
        "A JWT signed anew for each attempt; in scope as assertion.",
    ),
    ("assertion.alg", "The algorithm (RFC 7518, RFC 8037)."),
    ("assertion.key", "Template of the key."),
    (
        "assertion.key_encoding",
        "How the key is written. Default: pem; for HS256, utf8.",
    ),
    (
        "assertion.header",
        "JOSE header fields beside alg and typ; x5t and x5t_s256 take a certificate in PEM and become its thumbprints.",
    ),
    (
        "assertion.claims",
        "Claims; those are left out whose value, or any part of it, is unset or made of what is unset. iat, exp and jti are supplied unless given, null leaves one out. For client authentication, iss, sub and aud are, too.",
    ),
    ("assertion.lifetime_s", "From now to exp. Default: 300."),
    ("assertion.iat_skew_s", "How far iat lies in the past."),
    ("tls", "Certificates of this realm, in PEM."),
    ("tls.ca", "Trusted beside the usual authorities. Template."),
    (
        "tls.client_cert",
        "The client's certificate chain. Template.",
    ),
    ("tls.client_key", "Its private key. Template."),
    (
        "response_format",
        "The format of the answer; form: application/x-www-form-urlencoded. Default: json.",
    ),
    (
        "success",
        "Condition over the answer. Default: status 2xx and no errcode other than 0. A token is needed in any case; an answer without one whose status is not 2xx is a refusal.",
    ),
    (
        "token_path",
        "Dotted path to the token; a literal key of that name wins.",
    ),
    (
        "token",
        "Expression that gives the token, instead of a path.",
    ),
    (
        "expires_in_path",
        "Dotted path to the remaining life: a number, a numeric string, text with units (24h, 120 mins, 1w), HH:MM:SS, D.HH:MM:SS, or an ISO 8601 duration (PT2H).",
    ),
    (
        "expires_in_unit",
        "The unit of a bare number (s, the default, or ms), or what three numbers with colons are: d:hh:mm or h:mm:ss.",
    ),
    (
        "expires_in",
        "Expression that gives the remaining life, instead of a path.",
    ),
    (
        "expires_at_path",
        "Dotted path to the end of life: a number since the epoch (s, ms, µs or ns) or .NET ticks, by its size; yyyyMMddHHmmss; RFC 3339 and its loose forms, RFC 1123, M/D/YYYY with AM or PM, /Date(ms)/. It is read by the provider's clock, where the answer has a Date.",
    ),
    (
        "expires_at",
        "Expression that gives the end of life, instead of a path.",
    ),
    (
        "expires_at_format",
        "How the end of life is written, where that is in no known form: as strftime writes it, such as %d.%m.%Y %H:%M:%S.",
    ),
    (
        "expires_at_offset",
        "The zone of an end of life that names none, such as +08:00. Default: UTC.",
    ),
    (
        "default_expires_in_s",
        "A number, or a template that gives one. Where the answer says nothing and the token is no JWT with exp. 0: it does not expire.",
    ),
    (
        "refresh_token_path",
        "Dotted path to the next refresh token. Absent in an answer: the old one is kept.",
    ),
    (
        "refresh_token_from",
        "Expression that gives the next refresh token, instead of a path.",
    ),
    (
        "refresh_expires_in_path",
        "Dotted path to the refresh token's life, in seconds.",
    ),
    (
        "refresh",
        "The request that uses a refresh token. A field given here replaces that of the main request. Default: RFC 6749, section 6.",
    ),
    (
        "refresh.retry",
        "never: a failed call burns the refresh token, so none is repeated.",
    ),
    (
        "steps",
        "Requests before the main one, each seeing the earlier answers as steps[0].body and so on. Nothing is inherited.",
    ),
    (
        "parent",
        "The secret whose token this one is derived from; in scope as parent.token and parent.extra.",
    ),
    ("parent.realm", "Template of its realm."),
    ("parent.key", "Template of its key."),
    (
        "ticket",
        "Tickets that the provider pushes to /api/ticket/{realm}; in scope as ticket.",
    ),
    ("ticket.format", "The form of a push."),
    (
        "ticket.app_id",
        "Template of the application's id, as it stands in a push.",
    ),
    ("ticket.token", "Template of the verification token."),
    (
        "ticket.aes_key",
        "Template of the key that pushes are encrypted with.",
    ),
    (
        "ticket.valid_s",
        "How long a ticket is used after it was pushed.",
    ),
    ("ticket.resend", "The request that asks for another push."),
    (
        "extra",
        "Expressions by name; stored and served with the token.",
    ),
    (
        "token_template",
        "How the token is served, where not as it came: Ghost ${token}.",
    ),
    (
        "per_read",
        "Renders token_template on each read, not once at renewal.",
    ),
    ("error", "How a refusal is read and classed."),
    ("error.code", "Expression that gives the provider's code."),
    (
        "error.message",
        "Expression that gives the provider's message.",
    ),
    (
        "error.patterns",
        "Regular expressions that are searched for in code and message; the first that is found decides, before classes and the codes of OAuth. They tell capital from small letters unless they begin with (?i).",
    ),
    ("error.patterns.match", "The regular expression."),
    ("error.patterns.class", "What follows where it is found."),
    ("error.classes", "Codes by what follows from them."),
    (
        "error.classes.permanent",
        "Will not pass by itself: a human is needed.",
    ),
    (
        "error.classes.rate_limited",
        "Too many requests of this secret.",
    ),
    ("error.classes.transient", "Will pass."),
    (
        "error.classes.invalid_token",
        "The parent's token is refused: it is renewed, then this one.",
    ),
    (
        "error.classes.invalid_grant",
        "The refresh token is refused, as RFC 6749 says it.",
    ),
    (
        "policy",
        "Rules of renewal, where they differ from the server's.",
    ),
    (
        "policy.renew_before_s",
        "The latest point of renewal, before expiry.",
    ),
    (
        "policy.window_s",
        "Asking earlier than that before expiry returns the same token.",
    ),
    (
        "policy.repeat",
        "Whether asking again for the same token keeps its expiry (default) or extends it.",
    ),
    (
        "policy.refresh_overlap_s",
        "How long the provider accepts a refresh token that was used: one that a replica may have used before it fell silent is sent again by then.",
    ),
    (
        "policy.grace_s",
        "How long the previous token stays valid after a new one.",
    ),
    (
        "policy.revokes_previous",
        "Whether the provider ends the token before when it issues the next. While a renewal is under way, readers wait for it.",
    ),
    (
        "policy.min_flush_interval_s",
        "Between two flushes of one secret.",
    ),
    (
        "policy.quota",
        "How many requests the provider takes in a time.",
    ),
    ("policy.quota.limit", "So many."),
    ("policy.quota.window_s", "In so long."),
    ("policy.quota.scope", "Who shares it. Default: secret."),
    ("policy.quota.forced", "Of forced requests only."),
    (
        "policy.concurrency",
        "Requests to this realm at once, from one process.",
    ),
    ("policy.timeout_s", "How long one attempt may take in all."),
];
