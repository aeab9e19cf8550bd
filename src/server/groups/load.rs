//! Reading a shard from its log, from its start to what is committed (`CoordinatorLoaderImpl`). Blocks.

use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::Shard;
use crate::log::index_file::Access;
use crate::model::topic::{TopicIdPartition, TopicName};
use crate::protocol::compression::{DecompressError, Decompressor};
use crate::protocol::record_batch::{RecordBatch, RecordFormatError, Records, batches};
use crate::replica::fetch_session::entries::FetchPartition;
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::{FetchError, IsolationLevel, ReadLimit};
use crate::security::authorizer::permit::{Permit, Reason, Resource};

/// `offsets.load.buffer.size`: bytes that are read at a time; a larger batch is read whole.
const READ_BYTES: u32 = 5 * 1024 * 1024;
/// What one batch may expand to.
const EXPANDED_MAX: u64 = 256 * 1024 * 1024;

/// The groups can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the partition is not here")]
    NotHere,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its file can't be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("a batch at offset {offset} is damaged: {what}")]
    Damage { offset: i64, what: String },
    #[error("reading was given up")]
    GivenUp,
}

/// Replays a partition into its shard.
pub(super) fn load(
    replicas: &Arc<ReplicaManager>,
    place: TopicIdPartition,
    leader_epoch: i32,
    mut shard: Shard,
) -> Result<Shard, LoadError> {
    let partition = replicas.find(place).ok_or(LoadError::NotHere)?;
    let name = TopicName::from(TopicName::CONSUMER_OFFSETS);
    let resource = Resource::Topic { id: place.topic_id.0, name };
    let reader = replicas.reader(Permit::internal(Reason::GroupCoordinator, resource));
    let mut offset = partition.view().ok_or(LoadError::NotHere)?.ends().log_start;
    let mut decompressor = Decompressor::new();
    loop {
        let wanted = FetchPartition {
            partition: place.partition,
            fetch_offset: offset,
            max_bytes: i32::MAX,
            current_leader_epoch: leader_epoch,
            last_fetched_epoch: -1,
            log_start_offset: -1,
        };
        let limit = ReadLimit { max_bytes: READ_BYTES, at_least_one: true };
        let read = reader.read(&partition, &wanted, IsolationLevel::LogEnd, limit, Access::Blocking)?;
        let Some(range) = read.range else { return Ok(shard) };
        let mut bytes = vec![0; usize::try_from(range.len).unwrap_or(0)];
        range.read_at(0, &mut bytes)?;
        let before = offset;
        // The last batch of a range may be cut.
        for batch in batches(&bytes).map_while(Result::ok) {
            if let Err(what) = batch.check_crc() {
                return Err(LoadError::Damage { offset, what: what.to_string() });
            }
            if !batch.header().attributes.is_control() {
                replay(&mut shard, &batch, &mut decompressor)?;
            }
            offset = batch.header().last_offset().saturating_add(1).max(offset);
        }
        if offset == before {
            return Err(LoadError::Damage { offset, what: "it has no end".to_owned() });
        }
    }
}

fn replay(shard: &mut Shard, batch: &RecordBatch<'_>, decompressor: &mut Decompressor) -> Result<(), LoadError> {
    let header = batch.header();
    let damage = |what: String| LoadError::Damage { offset: header.base_offset, what };
    let codec = header.codec().ok_or_else(|| damage("its codec is not known".to_owned()))?;
    let mut expanded = Vec::new();
    decompressor
        .decompress(codec, batch.record_bytes(), EXPANDED_MAX, &mut expanded)
        .map_err(|error: DecompressError| damage(error.to_string()))?;
    for record in Records::new(&expanded, header.records_count) {
        let record = record.map_err(|error: RecordFormatError| damage(error.to_string()))?;
        let Some(key) = record.key else { continue };
        let value = record.value.map(Bytes::copy_from_slice);
        if let Err(error) = shard.replay(Bytes::copy_from_slice(key), value) {
            // One record that can't be read takes no other group's positions with it.
            tracing::warn!(
                target: "schloss.groups",
                "a record at offset {} of {} was left out: {error}",
                header.base_offset.saturating_add(i64::from(record.offset_delta)),
                TopicName::CONSUMER_OFFSETS,
            );
        }
    }
    Ok(())
}
