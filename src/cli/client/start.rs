//! Where reading begins: `start`, `end`, an offset, so many before the end, a time.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::duration;
use crate::model::time::Wall;
use crate::network::outbound::{ClientError, Cluster, EARLIEST, LATEST, Partition, find_offset};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Start {
    Beginning,
    End,
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    Time(Time),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Time {
    /// Milliseconds since 1970.
    At(i64),
    Ago(Duration),
}

impl Time {
    /// In milliseconds since 1970.
    pub(in crate::cli) fn at(&self, now: Wall) -> i64 {
        match self {
            Self::At(ms) => *ms,
            Self::Ago(ago) => now.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl Start {
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is none of start, end, OFFSET, -COUNT, @TIME");
        match text {
            "start" | "beginning" | "earliest" => return Ok(Self::Beginning),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return time_of(time).map(Self::Time);
        }
        let number: i64 = text.parse().map_err(|_| wrong())?;
        Ok(if text.starts_with('-') { Self::Last(number.saturating_neg()) } else { Self::Offset(number) })
    }
}

impl Start {
    /// The offset it is in a partition that ends at `end`. An offset that was said is taken as it is.
    ///
    /// # Errors
    /// Kafka's refusal.
    pub(in crate::cli) async fn resolve(
        &self,
        cluster: &mut Cluster,
        partition: &Partition,
        end: i64,
        now: Wall,
    ) -> Result<i64, ClientError> {
        Ok(match self {
            Self::Beginning => find_offset(cluster, partition, EARLIEST).await?.unwrap_or(0),
            Self::End => end,
            Self::Offset(offset) => *offset,
            Self::Last(count) => {
                let first = find_offset(cluster, partition, EARLIEST).await?.unwrap_or(0);
                end.saturating_sub(*count).max(first)
            }
            Self::Time(time) => find_offset(cluster, partition, time.at(now)).await?.unwrap_or(end),
        })
    }
}

/// Where a partition ends.
///
/// # Errors
/// Kafka's refusal.
pub(in crate::cli) async fn end_of(cluster: &mut Cluster, partition: &Partition) -> Result<i64, ClientError> {
    Ok(find_offset(cluster, partition, LATEST).await?.unwrap_or(0))
}

fn time_of(text: &str) -> Result<Time, String> {
    if let Some(ago) = text.strip_prefix('-') {
        return duration(ago).map(Time::Ago);
    }
    if let Ok(ms) = text.parse() {
        return Ok(Time::At(ms));
    }
    let is_day = text.len() == 10;
    let whole = if is_day { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = OffsetDateTime::parse(&whole, &Rfc3339).map_err(|_| {
        format!("'@{text}' is no time: milliseconds since 1970, 2026-11-23, 2026-11-23T08:00:00Z, or -1h")
    })?;
    Ok(Time::At(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_it() {
        assert_eq!(Start::parse("start"), Ok(Start::Beginning));
        assert_eq!(Start::parse("17"), Ok(Start::Offset(17)));
        assert_eq!(Start::parse("-5"), Ok(Start::Last(5)));
        assert_eq!(Start::parse("@1700000000000"), Ok(Start::Time(Time::At(1_700_000_000_000))));
        assert_eq!(Start::parse("@1970-01-02"), Ok(Start::Time(Time::At(86_400_000))));
        assert_eq!(Start::parse("@1970-01-01T00:00:01.5+00:00"), Ok(Start::Time(Time::At(1500))));
        let Ok(Start::Time(ago)) = Start::parse("@-1h") else { panic!() };
        assert_eq!(ago.at(Wall(3_600_007)), 7);
        for wrong in ["", "x", "@", "@x", "@-x", "1.5"] {
            assert!(Start::parse(wrong).is_err(), "{wrong}");
        }
    }
}
