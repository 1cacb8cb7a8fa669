//! How a client proves who it is: client authentication and certificates.

use super::reader::DocumentReader;
use crate::foundation::fields::Fields;
use crate::realm::document::{BasicEncoding, ClientAuth, TlsClient, TlsRule};
use crate::realm::expression::Names;

impl DocumentReader<'_> {
    pub(super) fn client_auth(&self, auth: Fields<'_>, beside: &Names) -> Option<ClientAuth> {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Kind {
            None,
            Basic,
            Post,
            SecretJwt,
            KeyJwt,
            Tls,
        }
        let methods = [
            ("none", Kind::None),
            ("client_secret_basic", Kind::Basic),
            ("client_secret_post", Kind::Post),
            ("client_secret_jwt", Kind::SecretJwt),
            ("private_key_jwt", Kind::KeyJwt),
            ("tls_client_auth", Kind::Tls),
        ];
        let kind = auth.required("method", |fields, field| fields.one_of(field, &methods));
        let template = |field: &'static str| {
            auth.text(field)
                .and_then(|source| self.template_of(source, &auth, field, beside))
        };
        let (client_id, client_secret) = (template("client_id"), template("client_secret"));
        let encodings = [
            ("rfc6749", BasicEncoding::Rfc6749),
            ("raw", BasicEncoding::Raw),
        ];
        let encoding = auth.one_of("encoding", &encodings).unwrap_or_default();
        let needs: &[&'static str] = match kind {
            Some(Kind::Basic | Kind::Post) => &["client_id", "client_secret"],
            Some(Kind::SecretJwt) if !self.known.contains("assertion") => {
                &["client_id", "client_secret"]
            }
            Some(Kind::Tls) => &["client_id"],
            _ => &[],
        };
        for field in needs {
            if !auth.has(field) {
                auth.fault(field, "is required");
            }
        }
        if kind == Some(Kind::KeyJwt) && !self.known.contains("assertion") {
            auth.fault(
                "method",
                "private_key_jwt needs the field assertion, which says how it is signed",
            );
        }
        if auth.has("encoding") && kind.is_some_and(|kind| kind != Kind::Basic) {
            auth.fault("encoding", "is for client_secret_basic only");
        }
        auth.finish();
        match kind? {
            Kind::None => Some(ClientAuth::None { client_id }),
            Kind::Basic => Some(ClientAuth::Basic {
                client_id: client_id?,
                client_secret: client_secret?,
                encoding,
            }),
            Kind::Post => Some(ClientAuth::Post {
                client_id: client_id?,
                client_secret: client_secret?,
            }),
            Kind::SecretJwt | Kind::KeyJwt => Some(ClientAuth::Jwt {
                client_id,
                client_secret,
            }),
            Kind::Tls => Some(ClientAuth::Tls { client_id }),
        }
    }

    pub(super) fn tls(&self, tls: Fields<'_>, beside: &Names) -> Option<TlsRule> {
        let template = |field: &'static str| {
            tls.text(field)
                .and_then(|source| self.template_of(source, &tls, field, beside))
        };
        let (ca, certificate, key) = (
            template("ca"),
            template("client_cert"),
            template("client_key"),
        );
        for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
            if tls.has(one) && !tls.has(other) {
                tls.fault(other, format!("is required beside {one}"));
            }
        }
        tls.finish();
        let client = certificate
            .zip(key)
            .map(|(certificate, key)| TlsClient { certificate, key });
        Some(TlsRule { ca, client })
    }
}
