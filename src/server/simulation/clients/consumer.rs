//! A consumer of one partition after the other: what is below the high watermark.

use std::collections::BTreeMap;

use super::Turn;
use crate::log::index_file::Access;
use crate::model::topic::TopicIdPartition;
use crate::protocol::record_batch::batches;
use crate::replica::bench::{from, permit};
use crate::replica::partition::{IsolationLevel, Partition, ReadLimit};
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
        for (offset, value) in fetch(turn, &partition, *position).unwrap_or_default() {
            turn.story.tell(&Event::Read { place, offset, value: &value })?;
            *position = offset + 1;
        }
        Ok(())
    }

    /// Reads a partition from its start to its high watermark. False if it can't be read now.
    pub(in super::super) fn read_through(turn: &mut Turn<'_>, partition: &Partition) -> Result<bool, Halt> {
        let (mut records, mut position) = (Vec::new(), 0);
        loop {
            let Some(fetched) = fetch(turn, partition, position) else { return Ok(false) };
            let Some((last, _)) = fetched.last() else { break };
            position = last + 1;
            records.extend(fetched);
        }
        turn.story.tell(&Event::ReadThrough { place: partition.id(), records: &records })?;
        Ok(true)
    }
}

/// Records from `position` on; `None` if the broker can't say now.
fn fetch(turn: &Turn<'_>, partition: &Partition, position: i64) -> Option<Vec<(i64, String)>> {
    let reader = turn.node.replicas.reader(permit(partition.id()));
    let limit = ReadLimit { max_bytes: FETCH_BYTES, at_least_one: true };
    let (wanted, isolation) = (from(partition.id(), position), IsolationLevel::ReadUncommitted);
    let read = reader.read(partition, &wanted, isolation, limit, Access::Blocking).ok()?;
    let Some(range) = read.range else { return Some(Vec::new()) };
    let mut bytes = vec![0; range.len as usize];
    range.read_at(0, &mut bytes).ok()?;
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
    Some(records)
}
