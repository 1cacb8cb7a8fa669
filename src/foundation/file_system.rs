//! What kind of file system a file is on, where that does not outlive the machine, the
//! container or the function.

use std::path::Path;

/// File systems that end with whom they were made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    Tmpfs,
    Ramfs,
    /// The writable layer of a container.
    Overlay,
}

impl Passing {
    /// None: it lasts, or nothing is known of it.
    pub fn of(path: &Path) -> Option<Self> {
        match u64::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()? {
            0x0102_1994 => Some(Self::Tmpfs),
            0x8584_58f6 => Some(Self::Ramfs),
            0x794c_7630 => Some(Self::Overlay),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
            Self::Overlay => "overlay",
        }
    }

    /// Whether it is in memory: where secrets are mounted for one container or service.
    pub fn is_in_memory(self) -> bool {
        matches!(self, Self::Tmpfs | Self::Ramfs)
    }
}
