//! Pages of long lists.

/// The largest page, in rows.
pub const PAGE_SIZE_MAX: u64 = 1000;
/// The last page: its rows can be counted, however large pages are.
pub const PAGE_MAX: u64 = i64::MAX.unsigned_abs() / PAGE_SIZE_MAX;
/// The page size where a caller names none.
pub const PAGE_SIZE_DEFAULT: u64 = 10;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    number: u64,
    size: u64,
}

/// A page that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("must be from 1 to {PAGE_MAX}")]
    Number,
    #[error("must be from 1 to {PAGE_SIZE_MAX}")]
    Size,
}

impl Page {
    pub fn new(number: u64, size: u64) -> Result<Self, PageError> {
        if number == 0 || number > PAGE_MAX {
            Err(PageError::Number)
        } else if size == 0 || size > PAGE_SIZE_MAX {
            Err(PageError::Size)
        } else {
            Ok(Self { number, size })
        }
    }

    pub fn offset(self) -> u64 {
        (self.number - 1) * self.size
    }

    pub fn limit(self) -> u64 {
        self.size
    }

    /// This page of what is in memory.
    pub fn of<T>(self, all: impl Iterator<Item = T>) -> Listed<T> {
        let all: Vec<T> = all.collect();
        let (skipped, taken) = (self.offset(), self.limit());
        Listed {
            total: all.len() as u64,
            list: all
                .into_iter()
                .skip(usize::try_from(skipped).unwrap_or(usize::MAX))
                .take(usize::try_from(taken).unwrap_or(usize::MAX))
                .collect(),
        }
    }
}

/// One page of a list, and how long the whole list is.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub list: Vec<T>,
    pub total: u64,
}

impl<T> Listed<T> {
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Listed<U> {
        Listed {
            list: self.list.into_iter().map(each).collect(),
            total: self.total,
        }
    }
}
