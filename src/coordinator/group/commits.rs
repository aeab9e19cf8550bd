//! OffsetCommit, OffsetFetch, OffsetDelete (`OffsetMetadataManager`).

use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition};
use crate::protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use crate::protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use crate::protocol::messages::offset_fetch_response::{OffsetFetchResponsePartitions, OffsetFetchResponseTopics};

use super::classic::{Group, State};
use super::offsets::{PartitionKey, Position};
use super::records;
use super::request::{GroupId, GroupResponse, ReplyTo};
use super::shard::{Context, Effect, Shard, Turn};

/// From this version of OffsetCommit on, a group that does not exist is called by its name.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;
/// Positions that one group holds at most.
const MAX_POSITIONS: usize = 1_000_000;

impl Shard {
    pub(super) fn commit_offsets(
        &mut self,
        cx: &mut Context<'_>,
        to: ReplyTo,
        id: &GroupId,
        version: i16,
        request: &OffsetCommitRequest,
    ) {
        if let Err(error) = self.may_commit(id, version, request) {
            return self.writes().answer(to, GroupResponse::CommitOffsets(refused(request, error)));
        }
        if !self.make_group(id, cx.wall) {
            let response = refused(request, ErrorCode::CoordinatorNotAvailable);
            return self.writes().answer(to, GroupResponse::CommitOffsets(response));
        }
        if let Some(mut turn) = self.turn(cx, id) {
            turn.commit_offsets(to, request);
        }
    }

    /// A group that does not exist is made by a commit outside of any generation.
    fn may_commit(&mut self, id: &GroupId, version: i16, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
        match self.group_mut(id) {
            Some(group) => may_commit(group, request),
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None if version >= GROUP_ID_NOT_FOUND_FROM => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }
}

/// `ClassicGroup.validateOffsetCommit`
fn may_commit(group: &Group, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let generation = request.generation_id_or_member_epoch;
    if generation < 0 && group.is(State::Empty) {
        // A consumer that manages itself, or an administrator.
        return Ok(());
    }
    let instance = request.group_instance_id.as_deref();
    if generation >= 0 || !request.member_id.is_empty() || instance.is_some() {
        group.validate_member(&request.member_id, instance)?;
        if generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
    } else if !group.is(State::Empty) {
        return Err(ErrorCode::UnknownMemberId);
    }
    if group.is(State::CompletingRebalance) {
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

fn refused(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    answer(request, |_, _| error)
}

/// An answer about every partition that was named.
fn answer(
    request: &OffsetCommitRequest,
    mut judge: impl FnMut(&str, &OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: judge(&topic.name, partition).code(),
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

impl Turn<'_, '_> {
    fn commit_offsets(&mut self, to: ReplyTo, request: &OffsetCommitRequest) {
        if matches!(self.group.state, State::Stable | State::PreparingRebalance) {
            // A commit is a sign of life.
            self.begin_session(&request.member_id);
        }
        let max = self.settings.offset_metadata_max_bytes;
        let response = answer(request, |_, partition| {
            let units = partition.committed_metadata.as_deref().map_or(0, |text| text.encode_utf16().count());
            if units > max { ErrorCode::OffsetMetadataTooLarge } else { ErrorCode::None }
        });
        let now = self.cx.wall.0;
        let expire = Some(request.retention_time_ms).filter(|ms| *ms != -1).map(|ms| now.saturating_add(ms));
        let mut written = Vec::new();
        for (topic, judged) in request.topics.iter().zip(&response.topics) {
            for (partition, judged) in topic.partitions.iter().zip(&judged.partitions) {
                if judged.error_code == ErrorCode::None.code() {
                    let key = PartitionKey { topic: topic.name.to_string(), partition: partition.partition_index };
                    written.push((key, position(partition, now, expire, topic.topic_id)));
                }
            }
        }
        if self.group.offsets.len() + written.len() > MAX_POSITIONS {
            let response = refused(request, ErrorCode::CoordinatorNotAvailable);
            return self.writes.answer(to, GroupResponse::CommitOffsets(response));
        }
        if written.is_empty() {
            return self.writes.answer(to, GroupResponse::CommitOffsets(response));
        }
        let answer = Some((to, GroupResponse::CommitOffsets(response)));
        self.write_offsets(written.into_iter().map(|(key, position)| (key, Some(position))).collect(), answer);
    }

    /// Writes positions, or takes them away; then somebody is answered.
    pub(super) fn write_offsets(
        &mut self,
        positions: Vec<(PartitionKey, Option<Position>)>,
        answer: Option<(ReplyTo, GroupResponse)>,
    ) {
        let records =
            positions.iter().map(|(key, position)| records::offset(&self.id, key, position.as_ref())).collect();
        let keys = positions.iter().map(|(key, _)| key.clone()).collect();
        let append = self.writes.append(records, Effect::Offsets { group: GroupId::clone(&self.id), keys, answer });
        for (key, position) in positions {
            self.group.offsets.write(&key, append, position);
        }
    }

    /// The answer, if it is not to wait for the log.
    pub(super) fn delete_offsets(
        &mut self,
        to: ReplyTo,
        topics: Vec<OffsetDeleteRequestTopic>,
    ) -> Option<OffsetDeleteResponse> {
        if !self.group.is(State::Empty) && !self.group.is_of_consumers() {
            return Some(deletion_refused(ErrorCode::NonEmptyGroup));
        }
        let mut gone = Vec::new();
        let topics = topics.into_iter().map(|topic| {
            let subscribed = self.group.is_subscribed_to(&topic.name);
            let partitions = topic.partitions.iter().map(|partition| {
                let partition = partition.partition_index;
                if !subscribed && self.group.offsets.has(&topic.name, partition) {
                    gone.push((PartitionKey { topic: topic.name.to_string(), partition }, None));
                }
                let error = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
                OffsetDeleteResponsePartition { partition_index: partition, error_code: error.code() }
            });
            OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name }
        });
        let response = OffsetDeleteResponse { topics: topics.collect(), ..Default::default() };
        if gone.is_empty() {
            return Some(response);
        }
        self.write_offsets(gone, Some((to, GroupResponse::DeleteOffsets(response))));
        None
    }
}

fn position(partition: &OffsetCommitRequestPartition, now: i64, expire: Option<i64>, topic_id: Uuid) -> Position {
    Position {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref().unwrap_or_default().to_owned(),
        commit_timestamp: now,
        expire_timestamp: expire,
        topic_id,
    }
}

pub(super) fn deletion_refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}

/// What is committed for the partitions asked for, or for all. A position that was committed for another topic of the same
/// name is none.
pub(super) fn fetch(
    group: Option<&Group>,
    topics: Option<Vec<OffsetFetchRequestTopics>>,
) -> Vec<OffsetFetchResponseTopics> {
    let Some(topics) = topics else {
        let all = group.into_iter().flat_map(|group| group.offsets.committed());
        return all.map(|(topic, positions)| fetched_topic(topic, &positions)).collect();
    };
    let topics = topics.into_iter().map(|topic| {
        let of = |partition: i32| {
            let position = group.and_then(|group| group.offsets.get(&topic.name, partition));
            let is_of_topic = |position: &&Position| {
                position.topic_id == Uuid::ZERO || topic.topic_id == Uuid::ZERO || position.topic_id == topic.topic_id
            };
            fetched(partition, position.filter(is_of_topic))
        };
        let partitions = topic.partition_indexes.iter().map(|partition| of(*partition)).collect();
        OffsetFetchResponseTopics { partitions, name: topic.name, topic_id: topic.topic_id }
    });
    topics.collect()
}

fn fetched_topic(topic: &str, positions: &[(i32, &Position)]) -> OffsetFetchResponseTopics {
    let partitions = positions.iter().map(|(partition, position)| fetched(*partition, Some(position)));
    OffsetFetchResponseTopics { name: topic.into(), topic_id: Uuid::ZERO, partitions: partitions.collect() }
}

fn fetched(partition: i32, position: Option<&Position>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: position.map_or(-1, |position| position.offset),
        committed_leader_epoch: position.map_or(-1, |position| position.leader_epoch),
        metadata: Some(position.map_or("", |position| &*position.metadata).into()),
        error_code: ErrorCode::None.code(),
    }
}
