//! What a permit to write opens.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::log::producer_state::Owner;
use crate::log::validator::{Origin, Rules, Scratch, validate};
use crate::model::compression::CompressionType;
use crate::model::time::Wall;
use crate::model::topic::TopicId;
use crate::protocol::record_batch::BatchHeader;
use crate::security::authorizer::permit::{Permit, op};

use super::access::AccessError;
use super::delayed_produce::ProduceSlot;
use super::doorbell::Wakes;
use super::lane::Lane;
use super::lane::command::{Acks, Append, Incoming};
use super::lane::queue::{PushError, Ticket};
use super::partition::{Partition, PartitionState};
use super::produce_error::ProduceError;

/// Records up to this size are checked by the thread that brings them, if they are not compressed: while they are hot.
const CHECK_HERE_BYTES: usize = 1024 * 1024;

/// Appends to the partitions of one topic.
#[derive(Debug)]
pub struct TopicWriter {
    permit: Permit<op::Write>,
}

/// An append that its lane had no room for. Wait for space, then [`TopicWriter::retry`].
#[derive(Debug)]
pub struct LaneFull {
    append: Append,
    partition: Arc<Partition>,
}

/// Where a write that was set off stands: for reading what one wrote.
#[derive(Debug, Clone)]
pub struct WriteTicket {
    lane: Arc<Lane>,
    ticket: Ticket,
}

impl TopicWriter {
    pub(super) fn new(permit: Permit<op::Write>) -> Self {
        Self { permit }
    }

    /// Was the permit given by these rules? Asked before every [`Self::append`].
    pub fn is_current(&self, generation: u64) -> bool {
        self.permit.is_current(generation)
    }

    /// Sets off one partition's append; the outcome goes into `slot`. `None`: the outcome is there already.
    ///
    /// # Errors
    /// [`LaneFull`]: nothing has happened yet.
    pub fn append(
        &self,
        partition: &Arc<Partition>,
        records: Bytes,
        acks: Acks,
        zstd_allowed: bool,
        now: Wall,
        slot: ProduceSlot,
    ) -> Result<Option<WriteTicket>, LaneFull> {
        match self.prepare(partition, records, zstd_allowed, now) {
            Ok((records, origin)) => {
                let owner = self.permit.principal().map_or(Owner::NOBODY, Owner::of);
                let append = Append { partition: partition.id(), records, origin, owner, acks, slot };
                push(partition, append)
            }
            Err(error) => {
                slot.finish(Err(error), &mut Wakes::default());
                Ok(None)
            }
        }
    }

    /// Tries again what found its lane full.
    ///
    /// # Errors
    /// [`LaneFull`] again.
    pub fn retry(&self, full: LaneFull) -> Result<Option<WriteTicket>, LaneFull> {
        push(&full.partition, full.append)
    }

    /// Checks here what may be checked here.
    fn prepare(
        &self,
        partition: &Partition,
        bytes: Bytes,
        zstd_allowed: bool,
        now: Wall,
    ) -> Result<(Incoming, Origin), ProduceError> {
        if self.permit.topic_id().map(TopicId) != Some(partition.id().topic_id) {
            return Err(AccessError::UnknownPartition.into());
        }
        let log_start_offset = match partition.status().state {
            PartitionState::Leader => partition.view().map_or(-1, |view| view.ends().log_start),
            PartitionState::Offline => return Err(AccessError::StorageFailed.into()),
            PartitionState::Removed => return Err(AccessError::UnknownPartition.into()),
            PartitionState::Unassigned | PartitionState::Follower => return Err(AccessError::NotLeader.into()),
        };
        let origin = if self.permit.principal().is_some() { Origin::Client } else { Origin::Coordinator };
        let settings = partition.settings();
        let rules = Rules { compression: settings.compression, zstd_allowed, ..Rules::new(origin, &settings.log, now) };
        let is_plain = BatchHeader::parse(&bytes).is_ok_and(|header| header.codec() == Some(CompressionType::None));
        if !is_plain || settings.compression.is_some() || bytes.len() > CHECK_HERE_BYTES {
            return Ok((Incoming::Raw { bytes, rules }, origin));
        }
        match validate(bytes, &rules, &mut Scratch::default()) {
            Ok(batch) => Ok((Incoming::Validated(batch), origin)),
            Err(error) => Err(ProduceError::Records { error, log_start_offset }),
        }
    }
}

fn push(partition: &Arc<Partition>, append: Append) -> Result<Option<WriteTicket>, LaneFull> {
    let Some(lane) = partition.lane() else {
        append.slot.finish(Err(AccessError::StorageFailed.into()), &mut Wakes::default());
        return Ok(None);
    };
    // A thread that serves sockets never waits for a sync.
    let may_inline = !partition.status().commits_in_group && partition.settings().log.flush_messages.is_none();
    match lane.append(append, may_inline) {
        Ok(ticket) => Ok(Some(WriteTicket { lane: Arc::clone(lane), ticket })),
        Err(PushError::Full(append)) => Err(LaneFull { append, partition: Arc::clone(partition) }),
        Err(PushError::Closed(append)) => {
            append.slot.finish(Err(AccessError::NotLeader.into()), &mut Wakes::default());
            Ok(None)
        }
    }
}

impl LaneFull {
    /// Ready when another try is worth it.
    pub fn poll_space(&self, context: &Context<'_>) -> Poll<()> {
        self.partition.lane().map_or(Poll::Ready(()), |lane| lane.poll_space(context))
    }

    /// Gives up: the write is answered with `error`.
    pub fn refuse(self, error: ProduceError) {
        self.append.slot.finish(Err(error), &mut Wakes::default());
    }
}

impl WriteTicket {
    /// Ready when the write is in the log, or refused.
    pub fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        self.lane.poll_done(self.ticket, context)
    }
}

/// The writes that one connection has set off, as far as they may not be done: what it reads waits for them.
#[derive(Debug, Default)]
pub struct PendingWrites {
    /// The newest for each lane: as many as there are lanes.
    tickets: Vec<WriteTicket>,
}

impl PendingWrites {
    /// A lane works in order: its newest ticket stands for all before it.
    pub fn add(&mut self, ticket: WriteTicket) {
        match self.tickets.iter_mut().find(|known| Arc::ptr_eq(&known.lane, &ticket.lane)) {
            Some(known) => *known = ticket,
            None => self.tickets.push(ticket),
        }
    }

    /// What a read that is asked for now must wait for.
    pub fn unfinished(&mut self) -> Vec<WriteTicket> {
        self.tickets.retain(|ticket| !ticket.lane.is_done(ticket.ticket));
        self.tickets.clone()
    }
}
