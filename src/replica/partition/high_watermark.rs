//! The offset below which every in-sync replica has the log (`Partition.maybeIncrementLeaderHW`).

/// The high watermark that follows from where the replicas are.
///
/// `current` never falls; `leader_end` is this node's log end; `in_sync_ends` are the log ends of the *other* replicas that
/// count; an end not known yet (-1) holds the mark where it is.
pub fn high_watermark(current: i64, leader_end: i64, in_sync_ends: impl IntoIterator<Item = i64>) -> i64 {
    in_sync_ends.into_iter().fold(leader_end, i64::min).max(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_slowest_and_never_falls() {
        assert_eq!(high_watermark(0, 10, []), 10);
        assert_eq!(high_watermark(0, 10, [7, 12]), 7);
        assert_eq!(high_watermark(5, 10, [-1]), 5);
        assert_eq!(high_watermark(5, 3, []), 5);
    }
}
