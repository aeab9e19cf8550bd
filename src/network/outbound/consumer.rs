//! Reads records: positions in partitions, fetched from their leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::PAUSE;
use super::{ClientError, Cluster};
use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;
use crate::protocol::compression::Decompressor;
use crate::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::messages::fetch_response::{FetchResponse, PartitionData};
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::protocol::record_batch::{self, RecordBatch};
use crate::protocol::wire::Records;

/// `ListOffsetsRequest.LATEST_TIMESTAMP` and `EARLIEST_TIMESTAMP`
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;
/// Most bytes of an answer, and of one partition in it.
const MAX_BYTES: i32 = 16 * 1024 * 1024;
const PARTITION_MAX_BYTES: i32 = 1024 * 1024;
/// Most bytes that a compressed batch may become here.
const BATCH_LIMIT: u64 = 256 * 1024 * 1024;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    pub topic: String,
    pub index: i32,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// One record as it was read. Headers may repeat; their keys need not be text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What was read of one partition.
#[derive(Debug)]
pub struct Fetched {
    pub partition: Partition,
    pub records: Vec<ReadRecord>,
    /// Where to go on: behind the records, also behind what is no record (markers, what was compacted away).
    pub next_offset: i64,
    pub high_watermark: i64,
}

#[derive(Debug)]
struct Position {
    offset: i64,
    topic_id: Uuid,
    leader: i32,
}

/// Reads partitions on from where it stands in each.
#[derive(Debug, Default)]
pub struct Consumer {
    positions: BTreeMap<Partition, Position>,
}

impl Consumer {
    /// Reads `partition` from `offset` on.
    ///
    /// # Errors
    /// The topic is refused.
    pub async fn seek(&mut self, cluster: &mut Cluster, partition: Partition, offset: i64) -> Result<(), ClientError> {
        let (topic_id, leader) = placed(cluster, &partition).await?;
        self.positions.insert(partition, Position { offset, topic_id, leader });
        Ok(())
    }

    /// Reads nothing any more.
    pub fn clear(&mut self) {
        self.positions.clear();
    }

    /// Where it stands, partition by partition.
    pub fn positions(&self) -> impl Iterator<Item = (&Partition, i64)> {
        self.positions.iter().map(|(partition, position)| (partition, position.offset))
    }

    /// One round over all leaders, each of which may wait so long for records. Positions move behind what is returned.
    ///
    /// # Errors
    /// A refusal that asking again does not mend; [`ErrorCode::OffsetOutOfRange`] names its partition.
    pub async fn poll(&mut self, cluster: &mut Cluster, max_wait: Duration) -> Result<Vec<Fetched>, ClientError> {
        let mut leaders: Vec<i32> = self.positions.values().map(|position| position.leader).collect();
        leaders.sort_unstable();
        leaders.dedup();
        let share = max_wait / u32::try_from(leaders.len().max(1)).unwrap_or(1);
        let mut fetched = Vec::new();
        for leader in leaders {
            let request = self.request(leader, share);
            let answer = match cluster.broker(leader).await {
                Ok(link) => link.call_waiting(&request, share).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => fetched.extend(self.take(cluster, answer).await?),
                Err(error) if error.is_passing() => {
                    cluster.drop_broker(leader);
                    tokio::time::sleep(PAUSE).await;
                    self.place_again(cluster, |position| position.leader == leader).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(fetched)
    }

    fn request(&self, leader: i32, max_wait: Duration) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (partition, position) in self.positions.iter().filter(|(_, position)| position.leader == leader) {
            let wanted = FetchPartition {
                partition: partition.index,
                fetch_offset: position.offset,
                partition_max_bytes: PARTITION_MAX_BYTES,
                ..Default::default()
            };
            match topics.last_mut().filter(|topic| *topic.topic == *partition.topic) {
                Some(topic) => topic.partitions.push(wanted),
                None => topics.push(FetchTopic {
                    topic: partition.topic.as_str().into(),
                    topic_id: position.topic_id,
                    partitions: vec![wanted],
                }),
            }
        }
        FetchRequest {
            max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            topics,
            ..Default::default()
        }
    }

    async fn take(&mut self, cluster: &mut Cluster, answer: FetchResponse) -> Result<Vec<Fetched>, ClientError> {
        if let Some(refusal) = ClientError::refusal("fetch", answer.error_code, None) {
            return Err(refusal);
        }
        let mut fetched = Vec::new();
        let mut has_moved = false;
        for topic in answer.responses {
            for data in topic.partitions {
                let is_it = |partition: &Partition, position: &Position| {
                    let same = *topic.topic == *partition.topic || topic.topic_id == position.topic_id;
                    same && partition.index == data.partition_index
                };
                let Some((partition, position)) = self.positions.iter_mut().find(|(p, at)| is_it(p, at)) else {
                    continue;
                };
                match ClientError::refusal(partition.to_string(), data.error_code, None) {
                    None => {}
                    Some(refusal) if refusal.code().is_some_and(ErrorCode::is_retriable) => {
                        has_moved = true;
                        continue;
                    }
                    Some(refusal) => return Err(refusal),
                }
                let (records, next_offset) = records_of(&data, position.offset).map_err(|text| {
                    let (what, code) = (partition.to_string(), ErrorCode::CorruptMessage);
                    ClientError::Refused { what, code, text: Some(text) }
                })?;
                position.offset = next_offset;
                let partition = partition.clone();
                fetched.push(Fetched { partition, records, next_offset, high_watermark: data.high_watermark });
            }
        }
        if has_moved {
            tokio::time::sleep(PAUSE).await;
            self.place_again(cluster, |_| true).await?;
        }
        Ok(fetched)
    }

    /// Asks where the leaders are now. What can't be answered now is asked again by the next round.
    async fn place_again(&mut self, cluster: &mut Cluster, of: impl Fn(&Position) -> bool) -> Result<(), ClientError> {
        for (partition, position) in self.positions.iter_mut().filter(|(_, position)| of(position)) {
            match placed(cluster, partition).await {
                Ok((topic_id, leader)) => (position.topic_id, position.leader) = (topic_id, leader),
                Err(error) if error.is_passing() || error.code().is_some_and(ErrorCode::is_retriable) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A partition's topic id and leader.
async fn placed(cluster: &mut Cluster, partition: &Partition) -> Result<(Uuid, i32), ClientError> {
    let topic = cluster.topic(&partition.topic).await?;
    let found = topic.partitions.iter().find(|found| found.partition_index == partition.index);
    let refused = |code| ClientError::Refused { what: partition.to_string(), code, text: None };
    let found = found.ok_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))?;
    Ok((topic.topic_id, found.leader_id))
}

/// The offset of the first record whose timestamp is not before `timestamp_ms`, or of [`EARLIEST`] or [`LATEST`]; `None` if
/// all records are older.
///
/// # Errors
/// Kafka's refusal.
pub async fn find_offset(
    cluster: &mut Cluster,
    partition: &Partition,
    timestamp_ms: i64,
) -> Result<Option<i64>, ClientError> {
    let (_, leader) = placed(cluster, partition).await?;
    let wanted =
        ListOffsetsPartition { partition_index: partition.index, timestamp: timestamp_ms, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: partition.topic.as_str().into(), partitions: vec![wanted] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, timeout_ms: 30_000, ..Default::default() };
    let answer = cluster.broker(leader).await?.call(&request).await?;
    let found = answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let found = found.unwrap_or_default();
    match ClientError::refusal(partition.to_string(), found.error_code, None) {
        Some(refusal) => Err(refusal),
        None => Ok((found.offset >= 0).then_some(found.offset)),
    }
}

/// The records at `from` and behind it, and where the next ones begin.
fn records_of(data: &PartitionData, from: i64) -> Result<(Vec<ReadRecord>, i64), String> {
    let Records::Bytes(bytes) = &data.records else { return Ok((Vec::new(), from)) };
    let mut records = Vec::new();
    let mut next = from;
    for batch in record_batch::batches(bytes).checked() {
        match batch {
            Ok(batch) => {
                read_batch(&batch, from, &mut records)?;
                next = next.max(batch.header().next_offset());
            }
            // A fetch may end in the middle of a batch.
            Err(damage) if damage.error.is_torn() => break,
            Err(damage) => return Err(damage.to_string()),
        }
    }
    Ok((records, next))
}

fn read_batch(batch: &RecordBatch<'_>, from: i64, out: &mut Vec<ReadRecord>) -> Result<(), String> {
    let header = batch.header();
    if header.attributes.is_control() {
        return Ok(());
    }
    let mut room = Vec::new();
    let bytes = if batch.is_compressed() {
        let codec = header.codec().ok_or("a codec that is unknown")?;
        let unpacked = Decompressor::new().decompress(codec, batch.record_bytes(), BATCH_LIMIT, &mut room);
        unpacked.map_err(|error| error.to_string())?;
        room.as_slice()
    } else {
        batch.record_bytes()
    };
    let append_time = header.timestamp_type() == crate::model::compression::TimestampType::LogAppendTime;
    for record in record_batch::Records::new(bytes, header.records_count) {
        let record = record.map_err(|error| error.to_string())?;
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if offset < from {
            continue;
        }
        let created = header.base_timestamp.saturating_add(record.timestamp_delta);
        out.push(ReadRecord {
            offset,
            timestamp_ms: if append_time { header.max_timestamp } else { created },
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::compression::CompressionType;
    use crate::protocol::record_batch::BatchBuilder;

    fn batch(base: i64, codec: CompressionType, values: &[&str]) -> Vec<u8> {
        let mut batch = BatchBuilder::new(base).compression(codec);
        for value in values {
            batch.append(7, Some(b"k"), Some(value.as_bytes()), &[(b"h", None)]).unwrap();
        }
        batch.build().to_vec()
    }

    fn read(bytes: Vec<u8>, from: i64) -> Result<(Vec<String>, i64), String> {
        let data = PartitionData { records: Records::Bytes(Bytes::from(bytes)), ..Default::default() };
        let (records, next) = records_of(&data, from)?;
        let text =
            |record: ReadRecord| format!("{}={}", record.offset, String::from_utf8(record.value.unwrap()).unwrap());
        Ok((records.into_iter().map(text).collect(), next))
    }

    #[test]
    fn from_the_middle_of_a_batch_to_a_torn_one() {
        let mut bytes = batch(5, CompressionType::Zstd, &["a", "b", "c"]);
        bytes.extend(batch(8, CompressionType::None, &["d"]));
        let whole = bytes.len();
        bytes.extend(&batch(9, CompressionType::None, &["e"])[..40]);
        assert_eq!(read(bytes.clone(), 6), Ok((vec!["6=b".into(), "7=c".into(), "8=d".into()], 9)));
        bytes.truncate(whole);
        bytes[whole - 1] ^= 1;
        assert!(read(bytes, 5).unwrap_err().contains("crc"));
    }

    #[test]
    fn markers_are_no_records_but_are_passed() {
        let mut marker = BatchBuilder::new(3).producer(1, 0, 0).transactional().control();
        marker.append(7, Some(b"\0\0\0\x01"), Some(b"\0\0\0\0\0\0"), &[]).unwrap();
        assert_eq!(read(marker.build().to_vec(), 3), Ok((Vec::new(), 4)));
    }
}
