//! `allowed_hosts`: where the extra fields of the last answer may lead.

use serde_json::Value;

use super::reader::DocumentReader;
use crate::foundation::fields::Fields;
use crate::realm::expression::STORED;
use crate::realm::hosts::AllowedHost;

const ALLOWED_HOSTS_MAX: usize = 20;

impl DocumentReader<'_> {
    /// Once all templates were read.
    pub(super) fn allowed_hosts(&self, fields: &Fields<'_>) -> Vec<AllowedHost> {
        let list = fields.list("allowed_hosts").unwrap_or_default();
        if list.len() > ALLOWED_HOSTS_MAX {
            fields.fault(
                "allowed_hosts",
                format!("must not hold more than {ALLOWED_HOSTS_MAX}"),
            );
        }
        let used = self.used.borrow().contains(STORED);
        if !list.is_empty() && !used {
            fields.warn_at(
                "allowed_hosts",
                "says where stored.extra may lead, and nothing in the document uses stored.extra",
            );
        }
        if used && !fields.has("extra") {
            fields.warn_at(
                "extra",
                "is what stored.extra is taken from, and the document does not have it",
            );
        }
        let items = list.iter().enumerate();
        let read = |(index, item): (usize, &Value)| {
            let text = item.as_str().ok_or_else(|| "must be a string".to_owned());
            text.and_then(AllowedHost::read)
                .map_err(|why| fields.fault_at(&format!("allowed_hosts/{index}"), why))
                .ok()
        };
        items.filter_map(read).collect()
    }
}
