//! Records of `__consumer_offsets`, in the versions that Apache Kafka 4.3.1 writes (`GroupCoordinatorRecordHelpers`):
//! positions as version 4 (1 if they expire by themselves), groups as version 3.

use bytes::Bytes;

use crate::protocol::records::group::group_metadata_key::GroupMetadataKey;
use crate::protocol::records::group::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use crate::protocol::records::group::offset_commit_key::OffsetCommitKey;
use crate::protocol::records::group::offset_commit_value::OffsetCommitValue;
use crate::protocol::wire::{DecodeError, Message, Reader, Versioned, Writer};

use super::classic::Group;
use super::member::Member;
use super::offsets::{PartitionKey, Position};
use super::request::GroupRecord;

const OFFSET_COMMIT_VERSION: i16 = 4;
/// The newest version that can say when a position expires.
const EXPIRING_OFFSET_COMMIT_VERSION: i16 = 1;
const GROUP_METADATA_VERSION: i16 = 3;

/// A record of a kind that is known.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    Offset { group: String, key: PartitionKey, position: Option<Position> },
    Group { group: String, value: Option<GroupMetadataValue> },
}

/// Reads a record. `None` for keys and values that a newer Kafka wrote: they are nobody's error, and stay where they are.
///
/// # Errors
/// A key or a value of a known type and version whose bytes are not.
pub(super) fn read(key: Bytes, value: Option<Bytes>) -> Result<Option<Known>, DecodeError> {
    let mut r = Reader::new(key);
    match r.i16()? {
        // Both versions of the key are the same.
        0 | OffsetCommitKey::ID => {
            let key = OffsetCommitKey::decode(&mut r, 0)?;
            let position = match value {
                None => None,
                Some(value) => match versioned::<OffsetCommitValue>(value)? {
                    Some(value) => Some(position(value)),
                    None => return Ok(None),
                },
            };
            let partition_key = PartitionKey { topic: key.topic.to_string(), partition: key.partition };
            Ok(Some(Known::Offset { group: key.group.to_string(), key: partition_key, position }))
        }
        GroupMetadataKey::ID => {
            let group = GroupMetadataKey::decode(&mut r, 0)?.group.to_string();
            let value = match value {
                None => None,
                Some(value) => match versioned::<GroupMetadataValue>(value)? {
                    Some(value) => Some(value),
                    None => return Ok(None),
                },
            };
            Ok(Some(Known::Group { group, value }))
        }
        _ => Ok(None),
    }
}

fn versioned<V: Versioned>(value: Bytes) -> Result<Option<V>, DecodeError> {
    let mut r = Reader::new(value);
    match r.i16()? {
        version if (V::MIN_VERSION..=V::MAX_VERSION).contains(&version) => V::decode(&mut r, version).map(Some),
        _ => Ok(None),
    }
}

fn position(value: OffsetCommitValue) -> Position {
    Position {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.to_string(),
        commit_timestamp: value.commit_timestamp,
        expire_timestamp: Some(value.expire_timestamp).filter(|at| *at != -1),
        topic_id: value.topic_id,
    }
}

/// A position, or its tombstone.
pub(super) fn offset(group: &str, key: &PartitionKey, position: Option<&Position>) -> GroupRecord {
    let record_key =
        OffsetCommitKey { group: group.into(), topic: key.topic.as_str().into(), partition: key.partition };
    let value = position.map(|position| {
        let value = OffsetCommitValue {
            offset: position.offset,
            leader_epoch: position.leader_epoch,
            metadata: position.metadata.as_str().into(),
            commit_timestamp: position.commit_timestamp,
            expire_timestamp: position.expire_timestamp.unwrap_or(-1),
            topic_id: position.topic_id,
        };
        let expires = position.expire_timestamp.is_some();
        framed(if expires { EXPIRING_OFFSET_COMMIT_VERSION } else { OFFSET_COMMIT_VERSION }, &value)
    });
    GroupRecord { key: framed_key(OffsetCommitKey::ID, &record_key), value }
}

/// A group as it is now, with the assignments that its members will have.
pub(super) fn group(id: &str, group: &Group, assignment: impl Fn(&Member) -> Bytes) -> GroupRecord {
    let protocol = group.protocol_name.as_deref().unwrap_or_default();
    let members = group.members().map(|member| MemberMetadata {
        member_id: (&*member.id).into(),
        group_instance_id: member.instance.as_deref().map(Into::into),
        client_id: member.client_id.as_str().into(),
        client_host: member.client_host.as_str().into(),
        rebalance_timeout: millis(member.rebalance_timeout),
        session_timeout: millis(member.session_timeout),
        subscription: member.metadata(protocol),
        assignment: assignment(member),
    });
    group_record(
        id,
        &GroupMetadataValue {
            protocol_type: group.protocol_type.as_deref().unwrap_or_default().into(),
            generation: group.generation,
            protocol: group.protocol_name.as_deref().map(Into::into),
            leader: group.leader.as_deref().map(Into::into),
            current_state_timestamp: group.since.map_or(-1, |since| since.0),
            members: members.collect(),
        },
    )
}

/// A group that has just come to be: without type, members and generation.
pub(super) fn new_group(id: &str, group: &Group) -> GroupRecord {
    group_record(
        id,
        &GroupMetadataValue {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            current_state_timestamp: group.since.map_or(-1, |since| since.0),
            members: Vec::new(),
        },
    )
}

pub(super) fn group_tombstone(id: &str) -> GroupRecord {
    GroupRecord { key: group_key(id), value: None }
}

fn group_record(id: &str, value: &GroupMetadataValue) -> GroupRecord {
    GroupRecord { key: group_key(id), value: Some(framed(GROUP_METADATA_VERSION, value)) }
}

fn group_key(id: &str) -> Bytes {
    framed_key(GroupMetadataKey::ID, &GroupMetadataKey { group: id.into() })
}

fn framed_key(id: i16, key: &impl Message) -> Bytes {
    let mut w = Writer::new();
    w.i16(id);
    key.encode(&mut w, 0);
    w.finish().bytes
}

fn framed(version: i16, value: &impl Message) -> Bytes {
    let mut w = Writer::new();
    w.i16(version);
    value.encode(&mut w, version);
    w.finish().bytes
}

fn millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
