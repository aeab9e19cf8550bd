//! "Did you mean": the known name nearest to what was written.

/// Names further away than this are no help.
const MAX_DISTANCE: usize = 4;

/// The nearest of `known`, if it is near enough for its length.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = MAX_DISTANCE.min(written.chars().count() / 3);
    known
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| (distance(written, name, most), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits from one to the other, a swap of neighbours being one; anything above `most` may come out as `most + 1`.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&above, j + 1) + 1).min(at(&row, j) + 1).min(at(&above, j) + usize::from(x != y));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_and_not_the_stranger() {
        let known = ["ssl.client.auth", "ssl.cipher.suites", "super.users"];
        assert_eq!(nearest("ssl.clinet.auth", known), Some("ssl.client.auth"));
        assert_eq!(nearest("super.user", known), Some("super.users"));
        assert_eq!(nearest("zookeeper", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
