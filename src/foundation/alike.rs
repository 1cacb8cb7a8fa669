//! The name that was meant, most likely, where one is written that does not exist.

/// Names less alike than this are not suggested (Jaro-Winkler, from 0 to 1).
const ALIKE: f64 = 0.84;

/// The most alike of some names, if any is alike. `name` is in lower case.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |other: &&'a str| strsim::jaro_winkler(name, &other.to_lowercase());
    known
        .into_iter()
        .map(|other| (alike(&other), other))
        .filter(|(alike, _)| *alike >= ALIKE && !name.is_empty())
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, other)| other)
}
