//! Lists in statements. Each length makes a statement of its own, which has to be prepared, and
//! which a connection keeps in place of another: so they have few lengths, the powers of two.

/// Made longer by repeating the last.
pub fn padded<T: Clone>(list: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = list.into_iter().collect();
    if let Some(last) = list.last().cloned() {
        list.resize(list.len().next_power_of_two(), last);
    }
    list
}

/// Rows that are written by several statements, the longest first.
pub fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = 1 << rows.len().checked_ilog2()?;
        let (piece, rest) = rows.split_at(length);
        rows = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_long_as_powers_of_two() {
        assert_eq!(padded([1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded([1, 2]), [1, 2]);
        assert!(padded(Vec::<i64>::new()).is_empty());
        let rows: Vec<i64> = (0..46).collect();
        let lengths: Vec<_> = pieces(&rows).map(<[i64]>::len).collect();
        assert_eq!(lengths, [32, 8, 4, 2]);
        assert_eq!(pieces(&rows).flatten().count(), 46);
        assert_eq!(pieces::<i64>(&[]).count(), 0);
    }
}
