//! The spool of this process.

use std::path::Path;

use crate::renewal::Spool;

/// Says so where what is spooled would not outlive the process: a refresh token could be
/// lost with the database away.
pub(super) fn open_spool(data_dir: &Path) -> Option<Spool> {
    match Spool::open(data_dir) {
        Ok(spool) => {
            if let Some(file_system) = spool.passing_file_system() {
                tracing::warn!(
                    name: "data_dir.not_lasting",
                    file_system,
                    "data_dir does not outlive this machine or container: a token issued while the database is away is lost with it; put data_dir on a volume"
                );
            }
            Some(spool)
        }
        Err(error) => {
            tracing::warn!(
                name: "data_dir.not_writable",
                %error,
                "data_dir cannot be written to: a token issued while the database is away is lost with the process"
            );
            None
        }
    }
}
