//! An idempotent producer: `acks=all`, five requests in flight, and again from the first unknown outcome on.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::Turn;
use crate::controller::{AllocateProducerIds, ControllerError, ControllerRequest, ControllerResponse};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::time::{Clock as _, Wall};
use crate::model::topic::TopicIdPartition;
use crate::protocol::record_batch::BatchBuilder;
use crate::replica::bench::{is_done, outcome, permit};
use crate::replica::delayed_produce::ProduceWait;
use crate::replica::lane::command::Acks;
use crate::server::simulation::Halt;
use crate::server::simulation::invariants::Event;
use crate::server::simulation::node::Answer;

/// `max.in.flight.requests.per.connection`
const IN_FLIGHT: usize = 5;

pub(in super::super) struct Producer {
    number: usize,
    /// A planted fault: it sends again under no sequence.
    is_idempotent: bool,
    id: Option<i64>,
    id_asked: Option<Answer<ControllerResponse, ControllerError>>,
    streams: BTreeMap<TopicIdPartition, Stream>,
    last_value: u64,
}

/// What goes to one partition.
#[derive(Default)]
struct Stream {
    next_sequence: i32,
    unanswered: VecDeque<Batch>,
}

struct Batch {
    sequence: i32,
    time: Wall,
    values: Vec<String>,
    sent: Option<ProduceWait>,
}

impl Producer {
    pub(in super::super) fn new(number: usize, is_idempotent: bool) -> Self {
        let streams = BTreeMap::new();
        Self { number, is_idempotent, id: None, id_asked: None, streams, last_value: 0 }
    }

    pub(in super::super) fn unanswered(&self) -> usize {
        self.streams.values().map(|stream| stream.unanswered.len()).sum()
    }

    /// The broker is gone, and with it every answer.
    pub(in super::super) fn disconnected(&mut self) {
        self.id_asked = None;
        for batch in self.streams.values_mut().flat_map(|stream| &mut stream.unanswered) {
            batch.sent = None;
        }
    }

    /// Writes something new to one of the partitions.
    pub(in super::super) fn write(&mut self, turn: &mut Turn<'_>, place: TopicIdPartition) -> Result<(), Halt> {
        if self.id.is_some() {
            let stream = self.streams.entry(place).or_default();
            if stream.unanswered.len() < IN_FLIGHT {
                let count = turn.chance.within(1..4);
                let values: Vec<String> =
                    (1..=count).map(|n| format!("{}.{}", self.number, self.last_value + n)).collect();
                self.last_value += count;
                turn.story.say(format_args!("producer {} has {}", self.number, values.join(",")));
                let sequence = stream.next_sequence;
                stream.next_sequence += i32::try_from(values.len()).unwrap();
                stream.unanswered.push_back(Batch { sequence, time: turn.clock.wall(), values, sent: None });
            }
        }
        self.go_on(turn)
    }

    /// Takes in what was answered, and sends what is not on its way.
    pub(in super::super) fn go_on(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let Some(id) = self.id else { return self.ask_for_id(turn) };
        let id = if self.is_idempotent { id } else { -1 };
        let image = turn.node.image();
        self.streams.retain(|place, _| image.topics.by_id(place.topic_id).is_some());
        for (place, stream) in &mut self.streams {
            stream.hear(turn, *place)?;
            stream.send(turn, *place, id);
        }
        Ok(())
    }

    fn ask_for_id(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let Some(asked) = &mut self.id_asked else {
            let request = AllocateProducerIds { broker: BrokerId(1), broker_epoch: turn.node.broker_epoch };
            self.id_asked = Some(turn.node.ask_controller(ControllerRequest::AllocateProducerIds(request))?);
            return Ok(());
        };
        match asked.try_recv() {
            Ok(Ok(ControllerResponse::AllocateProducerIds(block))) => self.id = Some(block.first),
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {}
            _ => self.id_asked = None,
        }
        Ok(())
    }
}

impl Stream {
    fn hear(&mut self, turn: &mut Turn<'_>, place: TopicIdPartition) -> Result<(), Halt> {
        while let Some(wait) = self.unanswered.front_mut().and_then(|first| first.sent.take_if(|sent| is_done(sent))) {
            let Some(first) = self.unanswered.front() else { break };
            match outcome(wait) {
                Ok(appended) => {
                    let (base_offset, values) = (appended.base_offset, &*first.values);
                    turn.story.tell(&Event::Acknowledged { place, base_offset, values })?;
                    self.unanswered.pop_front();
                }
                Err(error) => match error.code() {
                    ErrorCode::KafkaStorageError
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::UnknownTopicOrPartition => {
                        turn.story.say(format_args!("{} not written: {error}", first.values.join(",")));
                        break;
                    }
                    _ => {
                        let (value, why) = (&*first.values[0], &*error.to_string());
                        turn.story.tell(&Event::BatchRefused { place, value, why })?;
                        break;
                    }
                },
            }
        }
        Ok(())
    }

    /// Whatever is sent follows what is on its way: behind one that must be sent again, nothing is.
    fn send(&mut self, turn: &mut Turn<'_>, place: TopicIdPartition, id: i64) {
        let Some(partition) = turn.node.replicas.find(place) else { return };
        let first_unsent = self.unanswered.iter().position(|batch| batch.sent.is_none()).unwrap_or(0);
        if self.unanswered.iter().skip(first_unsent).any(|batch| batch.sent.as_ref().is_some_and(|sent| !is_done(sent)))
        {
            return;
        }
        for batch in self.unanswered.iter_mut().skip(first_unsent) {
            let (wait, mut slots) = ProduceWait::new(1);
            let writer = turn.node.replicas.writer(permit(place));
            let slot = slots.next().unwrap();
            if let Err(full) = writer.append(&partition, batch.records(id), Acks::All, true, turn.clock.wall(), slot) {
                full.refuse(crate::replica::produce_error::ProduceError::TimedOut);
            }
            batch.sent = Some(wait);
        }
    }
}

impl Batch {
    /// A batch of the producer, or one of nobody for -1.
    fn records(&self, producer_id: i64) -> Bytes {
        let sequence = if producer_id < 0 { -1 } else { self.sequence };
        let mut batch = BatchBuilder::new(0).producer(producer_id, if producer_id < 0 { -1 } else { 0 }, sequence);
        for value in &self.values {
            batch.append(self.time.0, None, Some(value.as_bytes()), &[]).unwrap();
        }
        batch.build()
    }
}
