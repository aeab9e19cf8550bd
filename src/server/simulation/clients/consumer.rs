//! A consumer of one partition after the other: what is below the high watermark.

use std::collections::BTreeMap;

use super::Turn;
use crate::log::index_file::Access;
use crate::model::topic::TopicIdPartition;
use crate::protocol::record_batch::batches;
use crate::replica::bench::{from, permit};
use crate::replica::partition::{IsolationLevel, Partition, PartitionState, ReadLimit};
use crate::server::simulation::Halt;
use crate::server::simulation::invariants::Event;

/// Bytes of one fetch: little, so that reading takes several.
const FETCH_BYTES: u32 = 600;

#[derive(Default)]
pub(in super::super) struct Consumer {
    positions: BTreeMap<TopicIdPartition, i64>,
}

impl Consumer {
    /// One fetch from where it stands.
    pub(in super::super) fn poll(&mut self, turn: &mut Turn<'_>, place: TopicIdPartition) -> Result<(), Halt> {
        let Some(partition) = turn.node.replicas.find(place) else { return Ok(()) };
        let position = self.positions.entry(place).or_insert(0);
        for (offset, value) in fetch(turn, &partition, *position) {
            turn.story.tell(&Event::Read { place, offset, value: &value })?;
            *position = offset + 1;
        }
        Ok(())
    }

    /// Reads a partition from its start to its high watermark.
    pub(in super::super) fn read_through(turn: &mut Turn<'_>, partition: &Partition) -> Result<(), Halt> {
        if partition.status().state != PartitionState::Leader {
            return Ok(());
        }
        let (mut records, mut position) = (Vec::new(), 0);
        loop {
            let fetched = fetch(turn, partition, position);
            let Some((last, _)) = fetched.last() else { break };
            position = last + 1;
            records.extend(fetched);
        }
        Ok(turn.story.tell(&Event::ReadThrough { place: partition.id(), records: &records })?)
    }
}

fn fetch(turn: &Turn<'_>, partition: &Partition, position: i64) -> Vec<(i64, String)> {
    let reader = turn.node.replicas.reader(permit(partition.id()));
    let limit = ReadLimit { max_bytes: FETCH_BYTES, at_least_one: true };
    let (wanted, isolation) = (from(partition.id(), position), IsolationLevel::ReadUncommitted);
    // An error is the broker's way to say that it can't now, or has less than was read: who reads through finds out.
    let Ok(read) = reader.read(partition, &wanted, isolation, limit, Access::Blocking) else { return Vec::new() };
    let Some(range) = read.range else { return Vec::new() };
    let mut bytes = vec![0; range.len as usize];
    if range.read_at(0, &mut bytes).is_err() {
        return Vec::new();
    }
    let mut records = Vec::new();
    for batch in batches(&bytes).map_while(Result::ok) {
        for record in batch.records() {
            let record = record.unwrap();
            let at = batch.header().base_offset + i64::from(record.offset_delta);
            if at >= position {
                records.push((at, String::from_utf8_lossy(record.value.unwrap()).into_owned()));
            }
        }
    }
    records
}
