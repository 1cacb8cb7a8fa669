//! Closed lists: enums whose variants have a word in documents, answers and rows.

/// The words of all that an enum knows.
pub fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|one| word(*one)).collect()
}
