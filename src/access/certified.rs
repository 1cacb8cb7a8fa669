//! Callers that show a certificate instead of an API key: which key each of them acts as.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::foundation::clock::EpochMs;

/// What a connection's certificate stands for, while it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedAs {
    /// The name of the API key.
    key: Arc<str>,
    ends: EpochMs,
}

impl CertifiedAs {
    /// None where the certificate has ended since it was shown.
    pub fn key(&self, now: EpochMs) -> Option<&str> {
        (now <= self.ends).then_some(&*self.key)
    }
}

/// The names of API keys by names in certificates (DNS or URI), as the configuration lists them.
#[derive(Clone, Debug, Default)]
pub struct CertifiedClients(Arc<BTreeMap<String, Arc<str>>>);

impl CertifiedClients {
    pub fn new(clients: BTreeMap<String, String>) -> Self {
        let clients = clients.into_iter();
        Self(Arc::new(
            clients.map(|(name, key)| (name, key.into())).collect(),
        ))
    }

    /// None where no name of a certificate is listed, or two of them are for different keys: it is
    /// not known then who calls. `ends`: when the certificate does, or one that it was issued by.
    pub fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        ends: EpochMs,
    ) -> Option<CertifiedAs> {
        let mut keys = names.filter_map(|name| self.0.get(name));
        let first = keys.next()?;
        let is_sure = keys.all(|key| key == first);
        is_sure.then(|| CertifiedAs {
            key: first.clone(),
            ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: EpochMs = EpochMs(1_000);

    #[test]
    fn a_certificate_stands_for_a_key_where_its_names_agree() {
        let listed = [
            ("spiffe://example/a", "a"),
            ("a.example", "a"),
            ("b.example", "b"),
        ];
        let listed = listed.map(|(name, key)| (name.to_owned(), key.to_owned()));
        let clients = CertifiedClients::new(listed.into());
        let of = |names: &[&str]| {
            let certified = clients.of(names.iter().copied(), ENDS)?;
            assert_eq!(certified.key(EpochMs(ENDS.0 + 1)), None);
            certified.key(ENDS).map(str::to_owned)
        };
        assert_eq!(of(&["b.example"]).as_deref(), Some("b"));
        assert_eq!(
            of(&["other.example", "a.example", "spiffe://example/a"]).as_deref(),
            Some("a")
        );
        assert_eq!(of(&["a.example", "b.example"]), None);
        assert_eq!(of(&["A.example", "x.a.example", "*.example"]), None);
        assert_eq!(of(&[]), None);
    }
}
