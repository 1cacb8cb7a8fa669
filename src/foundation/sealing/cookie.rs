//! Sealed values as texts of cookies: they are in no table.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{KeyRing, Sealed, SealedPlace};

/// What is longer is none.
const TEXT_MAX_BYTES: usize = 1024;

/// No table is called so: what is stored opens as no cookie of that name, and a cookie as nothing
/// stored.
fn place(name: &'static str) -> SealedPlace<'static> {
    SealedPlace {
        table: name,
        row: "",
        column: "cookie",
    }
}

impl KeyRing {
    pub fn seal_cookie(&self, name: &'static str, plain: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(&place(name), plain).0)
    }

    /// None where no server with a key of this ring sealed it under that name.
    pub fn open_cookie(&self, name: &'static str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        if text.len() > TEXT_MAX_BYTES {
            return None;
        }
        let sealed = Sealed(URL_SAFE_NO_PAD.decode(text).ok()?);
        self.open(&place(name), &sealed).ok()
    }
}
