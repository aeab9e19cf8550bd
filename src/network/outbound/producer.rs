//! Writes records: batches to the leaders of their partitions, each once.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::cluster::{PAUSE, TRIES};
use super::partitioner::partition_for_key;
use super::{ClientError, Cluster};
use crate::model::compression::CompressionType;
use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;
use crate::protocol::messages::init_producer_id_request::InitProducerIdRequest;
use crate::protocol::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::protocol::record_batch::BatchBuilder;
use crate::protocol::wire::Records;

/// Most bytes of records in a batch before they are compressed: below `max.message.bytes` as brokers have it.
pub const BATCH_BYTES: usize = 1_000_000;
/// How long a broker may wait for its replicas.
const TIMEOUT_MS: i32 = 30_000;

/// What is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// `None` is where the key, or chance, puts it.
    pub partition: Option<i32>,
    pub timestamp_ms: i64,
}

impl NewRecord {
    /// Bytes of it, roughly, inside a batch.
    pub fn size(&self) -> usize {
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + bytes(value) + 10).sum();
        bytes(&self.key) + bytes(&self.value) + headers + 32
    }
}

/// How many brokers must have a record before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    None,
    Leader,
    All,
}

/// Where records were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub partition: i32,
    /// Of the first record; `None` if the broker was not asked to answer.
    pub base_offset: Option<i64>,
    pub count: i32,
}

/// Records that were not written, and why.
#[derive(Debug)]
pub struct Unwritten {
    pub partition: i32,
    pub count: i32,
    pub error: ClientError,
}

/// A producer of one topic. With [`Acks::All`] it is idempotent: what is sent again after a lost answer is written once.
#[derive(Debug)]
pub struct Producer {
    topic: String,
    acks: Acks,
    codec: CompressionType,
    /// Id and epoch, once there is one.
    identity: Option<(i64, i16)>,
    sequences: HashMap<i32, i32>,
    /// Where records without a key go next.
    next: i32,
}

impl Producer {
    /// Nothing is asked yet.
    pub fn new(topic: &str, acks: Acks, codec: CompressionType) -> Self {
        Self { topic: topic.to_owned(), acks, codec, identity: None, sequences: HashMap::new(), next: 0 }
    }

    /// Writes records in their order, those of one partition as one batch: their bytes are to be below [`BATCH_BYTES`].
    ///
    /// # Errors
    /// Nothing was written: the topic or a producer id is refused.
    pub async fn write(
        &mut self,
        cluster: &mut Cluster,
        records: &[NewRecord],
    ) -> Result<Vec<Result<Written, Unwritten>>, ClientError> {
        let topic = cluster.topic(&self.topic).await?;
        if self.acks == Acks::All && self.identity.is_none() {
            self.identity = Some(self.introduce(cluster).await?);
        }
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let keyless = self.next.checked_rem(partitions).unwrap_or(0);
        self.next = self.next.wrapping_add(1) & i32::MAX;
        let mut by_partition: Vec<(i32, Vec<&NewRecord>)> = Vec::new();
        for record in records {
            let of_key = || record.key.as_ref().map(|key| partition_for_key(key, partitions));
            let partition = record.partition.or_else(of_key).unwrap_or(keyless);
            match by_partition.iter_mut().find(|(found, _)| *found == partition) {
                Some((_, records)) => records.push(record),
                None => by_partition.push((partition, vec![record])),
            }
        }
        let mut outcomes = Vec::new();
        for (partition, records) in by_partition {
            outcomes.push(self.write_batch(cluster, &topic, partition, &records).await);
        }
        Ok(outcomes)
    }

    async fn introduce(&self, cluster: &mut Cluster) -> Result<(i64, i16), ClientError> {
        let request =
            InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: i32::MAX, ..Default::default() };
        let mut tries = 0;
        loop {
            let answer = cluster.call(&request).await?;
            match ClientError::refusal("a producer id", answer.error_code, None) {
                None => return Ok((answer.producer_id, answer.producer_epoch)),
                Some(refusal) if tries == TRIES || !refusal.code().is_some_and(ErrorCode::is_retriable) => {
                    return Err(refusal);
                }
                Some(_) => pause(&mut tries).await,
            }
        }
    }

    async fn write_batch(
        &mut self,
        cluster: &mut Cluster,
        topic: &MetadataResponseTopic,
        partition: i32,
        records: &[&NewRecord],
    ) -> Result<Written, Unwritten> {
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        let unwritten = |error| Unwritten { partition, count, error };
        let batch = self.batch(records, sequence).ok_or_else(|| {
            let (what, code) = (format!("{}-{partition}", self.topic), ErrorCode::MessageTooLarge);
            unwritten(ClientError::Refused { what, code, text: None })
        })?;
        let base_offset = self.deliver(cluster, topic, partition, batch).await.map_err(unwritten)?;
        self.sequences.insert(partition, sequence.wrapping_add(count) & i32::MAX);
        Ok(Written { partition, base_offset, count })
    }

    fn batch(&self, records: &[&NewRecord], sequence: i32) -> Option<Bytes> {
        let mut batch = BatchBuilder::new(0).compression(self.codec);
        if let Some((id, epoch)) = self.identity {
            batch = batch.producer(id, epoch, sequence);
        }
        for record in records {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                record.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
            batch.append(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &headers).ok()?;
        }
        Some(batch.build())
    }

    /// Sends a batch until it is written or refused for good. The offset of its first record.
    async fn deliver(
        &self,
        cluster: &mut Cluster,
        topic: &MetadataResponseTopic,
        partition: i32,
        batch: Bytes,
    ) -> Result<Option<i64>, ClientError> {
        let what = format!("{}-{partition}", self.topic);
        let mut leader = leader_of(topic, partition);
        let request = self.request(topic.topic_id, partition, batch);
        let mut tries = 0;
        loop {
            let outcome = match leader {
                Some(leader) => self.send(cluster, leader, &request).await,
                None => {
                    let code = ErrorCode::UnknownTopicOrPartition;
                    Err(ClientError::Refused { what: what.clone(), code, text: None })
                }
            };
            let error = match outcome {
                Ok(offset) => return Ok(offset),
                Err(ClientError::Refused { code, text, .. }) => ClientError::Refused { what: what.clone(), code, text },
                Err(error) => error,
            };
            // Without an identity a lost answer may mean a record twice: the user decides, not we.
            let again = match error.code() {
                Some(code) => code.is_retriable(),
                None => self.identity.is_some() && error.is_passing(),
            };
            if !again || tries == TRIES {
                return Err(error);
            }
            if let (Some(leader), None) = (leader, error.code()) {
                cluster.drop_broker(leader);
            }
            pause(&mut tries).await;
            leader = cluster.topic(&self.topic).await.ok().and_then(|topic| leader_of(&topic, partition)).or(leader);
        }
    }

    fn request(&self, topic_id: Uuid, index: i32, batch: Bytes) -> ProduceRequest {
        let partition_data = vec![PartitionProduceData { index, records: Records::Bytes(batch) }];
        let name = self.topic.as_str().into();
        let acks = match self.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let topic_data = vec![TopicProduceData { name, topic_id, partition_data }];
        ProduceRequest { transactional_id: None, acks, timeout_ms: TIMEOUT_MS, topic_data }
    }

    async fn send(
        &self,
        cluster: &mut Cluster,
        leader: i32,
        request: &ProduceRequest,
    ) -> Result<Option<i64>, ClientError> {
        let link = cluster.broker(leader).await?;
        if self.acks == Acks::None {
            link.tell(request).await?;
            return Ok(None);
        }
        let longer = Duration::from_millis(u64::try_from(TIMEOUT_MS).unwrap_or(0));
        let answer = link.call_waiting(request, longer).await?;
        let topic = answer.responses.into_iter().next().unwrap_or_default();
        let result = topic.partition_responses.into_iter().next().unwrap_or_default();
        match ClientError::refusal("", result.error_code, result.error_message.as_deref()) {
            Some(refusal) => Err(refusal),
            None => Ok(Some(result.base_offset)),
        }
    }
}

fn leader_of(topic: &MetadataResponseTopic, partition: i32) -> Option<i32> {
    let found = topic.partitions.iter().find(|found| found.partition_index == partition)?;
    (found.leader_id >= 0).then_some(found.leader_id)
}

async fn pause(tries: &mut usize) {
    *tries += 1;
    tokio::time::sleep(PAUSE).await;
}
