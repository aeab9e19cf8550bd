//! The group coordinator: who is in a group, who reads what, how far they came (KIP-429 and KIP-345 are the members' side).
//!
//! One [`shard::Shard`] is one partition of `__consumer_offsets`. What a classic group is between two generations is soft
//! state: members, their votes and who waits for what. It is lost with the coordinator, and clients join again. Records
//! exist for a finished generation (the leader's SyncGroup), an empty group, a static member's return, offsets and
//! tombstones. An answer that rests on a record leaves when the record is committed; heartbeats are judged by the latest
//! state and offsets are read from what is committed. If such a record can't be written, those who wait get Kafka's error
//! and the group goes back to joining.
//!
//! One file a concern: [`classic`] holds a group's members and votes, `join`, `sync`, `leave` and `rebalance` change them,
//! `commits` and [`offsets`] hold positions, `expiry` forgets them, `describe` shows them, [`records`] writes and reads them.
//! Every entry needs a permit for the group, and finds the group by the permit's name. Precedent: Kafka's
//! `GroupMetadataManager`, `ClassicGroup` and `OffsetMetadataManager`.

mod classic;
mod commits;
mod describe;
mod expiry;
mod join;
mod leave;
mod member;
mod offsets;
mod rebalance;
pub mod records;
pub mod request;
pub mod settings;
pub mod shard;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use request::{Action, AppendId, Caller, GroupRequest, GroupResponse, ReplyTo};
pub use settings::GroupSettings;
pub use shard::{Context, Shard};

/// The partition of `__consumer_offsets` that holds a group: `Utils.abs(groupId.hashCode()) % partitions`, where `abs` of
/// the least integer is 0.
pub fn partition_of(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}
