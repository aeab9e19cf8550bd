//! The table of APIs: numbers, names, versions and listeners, as Apache Kafka 4.3.1 has them.
//!
//! Precedent: Kafka's `ApiKeys` and `ApiMessageType`. What this broker announces is less: the handlers' table says it.

include!(concat!(env!("OUT_DIR"), "/api_keys.rs"));

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

/// Kafka's `ApiMessageType.ListenerType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerType {
    Broker,
    Controller,
}

struct Facts {
    number: i16,
    name: &'static str,
    versions: VersionRange,
    flexible_from: Option<i16>,
    broker: bool,
    controller: bool,
}

impl VersionRange {
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

impl ApiKey {
    pub const fn number(self) -> i16 {
        self.facts().number
    }

    /// Kafka's name, as its tools print it: `OffsetForLeaderEpoch`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.binary_search_by_key(&number, |key| key.number()).ok().and_then(|at| Self::ALL.get(at)).copied()
    }

    /// The versions that Kafka serves; the codec may know an unstable one above.
    pub const fn versions(self) -> VersionRange {
        self.facts().versions
    }

    /// The versions that Kafka serves on a listener, if any.
    pub const fn served_on(self, listener: ListenerType) -> Option<VersionRange> {
        let facts = self.facts();
        let here = match listener {
            ListenerType::Broker => facts.broker,
            ListenerType::Controller => facts.controller,
        };
        if here { Some(facts.versions) } else { None }
    }

    /// The versions that Kafka lists in ApiVersions: those it serves, but for Produce, which is said to begin at 0
    /// because old librdkafka looks at the minimum (KAFKA-18659), and for telemetry, which is listed only where a
    /// reporter takes it (KIP-714).
    pub const fn announced_on(self, listener: ListenerType) -> Option<VersionRange> {
        match (self, self.served_on(listener)) {
            (Self::Produce, Some(served)) => Some(VersionRange::new(0, served.max)),
            (Self::GetTelemetrySubscriptions | Self::PushTelemetry, _) => None,
            (_, served) => served,
        }
    }

    pub const fn is_flexible(self, version: i16) -> bool {
        matches!(self.facts().flexible_from, Some(from) if from <= version)
    }

    /// Version of the header before a request: 1, or 2 with tagged fields. Defined for versions that do not exist too:
    /// an ApiVersions request from the future is answered.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header before a response: 0, or 1 with tagged fields. ApiVersions always has 0: whoever asks does
    /// not know yet what we understand (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(listener: ListenerType) -> Vec<(i16, i16, i16)> {
        let all = ApiKey::ALL.iter();
        all.filter_map(|key| key.announced_on(listener).map(|v| (key.number(), v.min, v.max))).collect()
    }

    /// What Kafka 4.3.1 answered on a broker listener.
    #[test]
    fn a_broker_listener_is_announced_as_kafka_does() {
        let observed = "0 0-13, 1 4-18, 2 1-11, 3 0-13, 8 2-10, 9 1-10, 10 0-6, 11 0-9, 12 0-4, 13 0-5, 14 0-5, 15 0-6, \
             16 0-5, 17 0-1, 18 0-4, 19 2-7, 20 1-6, 21 0-2, 22 0-5, 23 2-4, 24 0-5, 25 0-4, 26 0-5, 27 1-2, 28 0-5, \
             29 1-3, 30 1-3, 31 1-3, 32 1-4, 33 0-2, 34 1-2, 35 1-5, 36 0-2, 37 0-3, 38 1-3, 39 1-2, 40 1-2, 41 1-3, \
             42 0-2, 43 0-2, 44 0-1, 45 0-1, 46 0-0, 47 0-0, 48 0-1, 49 0-1, 50 0-0, 51 0-0, 55 0-2, 57 0-2, 60 0-2, \
             61 0-0, 64 0-0, 65 0-0, 66 0-2, 68 0-1, 69 0-1, 74 0-1, 75 0-0, 76 1-1, 77 1-1, 78 1-2, 79 1-2, 80 0-1, \
             81 0-0, 83 0-0, 84 0-0, 85 0-1, 86 0-0, 87 0-1, 88 0-0, 89 0-0, 90 0-1, 91 0-0, 92 0-0";
        assert_eq!(announced(ListenerType::Broker), parse(observed));
    }

    /// What Kafka 4.3.1 answered on a controller listener.
    #[test]
    fn a_controller_listener_is_announced_as_kafka_does() {
        let observed = "1 4-18, 17 0-1, 18 0-4, 19 2-7, 20 1-6, 29 1-3, 30 1-3, 31 1-3, 32 1-4, 33 0-2, 36 0-2, 37 0-3, \
             38 1-3, 39 1-2, 40 1-2, 41 1-3, 43 0-2, 44 0-1, 45 0-1, 46 0-0, 49 0-1, 50 0-0, 51 0-0, 52 0-2, 53 0-1, \
             54 0-1, 55 0-2, 56 2-3, 57 0-2, 58 0-0, 59 0-1, 60 0-2, 62 0-4, 63 0-2, 64 0-0, 67 0-0, 70 0-0, 73 0-0, \
             80 0-1, 81 0-0, 82 0-0";
        assert_eq!(announced(ListenerType::Controller), parse(observed));
    }

    fn parse(text: &str) -> Vec<(i16, i16, i16)> {
        let entry = |entry: &str| {
            let (key, range) = entry.trim().split_once(' ').unwrap();
            let (min, max) = range.split_once('-').unwrap();
            (key.parse().unwrap(), min.parse().unwrap(), max.parse().unwrap())
        };
        text.split(',').map(entry).collect()
    }

    #[test]
    fn produce_is_served_from_3_and_unknown_numbers_are_unknown() {
        assert_eq!(ApiKey::Produce.served_on(ListenerType::Broker), Some(VersionRange::new(3, 13)));
        assert_eq!(ApiKey::from_number(18), Some(ApiKey::ApiVersions));
        for unknown in [-1, 4, 7, 93, i16::MAX] {
            assert_eq!(ApiKey::from_number(unknown), None);
        }
    }

    #[test]
    fn headers_follow_flexibility() {
        assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(3), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
    }
}
