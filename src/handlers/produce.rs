//! Produce v3–13 (topic ids instead of names from v13, KIP-516; errors by record from v8, KIP-467; where the leader is
//! from v10, KIP-951). Versions 0–2 are announced, as Kafka does for old librdkafka, and not served.
//!
//! Needs Write on each topic: TOPIC_AUTHORIZATION_FAILED comes before whether a topic exists. An id that nobody knows is
//! UNKNOWN_TOPIC_ID without asking. Internal topics are refused (INVALID_TOPIC_EXCEPTION) whatever the rights and whatever
//! the client calls itself. Transactional batches are refused as a whole: there are no transactions yet, and of the codes
//! only TRANSACTIONAL_ID_AUTHORIZATION_FAILED ends such a producer. A partition that is named twice counts as named last,
//! as in Kafka. *strict* refuses producer ids that nobody handed out (UNKNOWN_PRODUCER_ID).
//!
//! After a partition's records are with their lane they are answered as what becomes of them; a right that is taken away
//! later changes nothing. With acks=0 there is no answer, and a failure closes the connection.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::asker::Asker;
use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{CloseReason, LaterReply, Order, Reply, RequestContext, Responder, Response, Spec};
use crate::log::validator::has_transactional_batch;
use crate::model::error_code::ErrorCode;
use crate::model::producer::ProducerId;
use crate::model::topic::{TopicId, TopicIdPartition, TopicName, TopicPartition};
use crate::model::uuid::Uuid;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::produce_request::ProduceRequest;
use crate::protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use crate::protocol::record_batch::BatchHeader;
use crate::protocol::wire::{DecodeError, Message as _, Reader, Records};
use crate::replica::access::AccessError;
use crate::replica::delayed_produce::{PartitionOutcome, ProduceSlot, ProduceWait};
use crate::replica::lane::command::Acks;
use crate::replica::partition::Partition;
use crate::replica::produce_error::ProduceError;
use crate::replica::writer::TopicWriter;
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::Produce, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// zstd came with this version (KIP-110).
const ZSTD_FROM: i16 = 7;
/// The answer names the leader from this version on.
const CURRENT_LEADER_FROM: i16 = 10;
/// Topics are named by id from this version on.
const TOPIC_IDS_FROM: i16 = 13;

const NO_TRANSACTIONS: &str = "transactions are not available yet";

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = ProduceRequest::decode(&mut Reader::new(body), version)?;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let acks_number = request.acks;
    let acks = Acks::from_number(acks_number);
    let transactional_id = request.transactional_id.as_deref().unwrap_or_default().to_owned();
    let (mut topics, is_transactional) = topics_of(request, version);
    if is_transactional {
        context.report_transactions_unavailable(&transactional_id);
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.state = Some(State::Refused {
                code: ErrorCode::TransactionalIdAuthorizationFailed,
                message: Some(NO_TRANSACTIONS),
            });
        }
        return Ok(refused(context, acks, topics));
    }
    let mut writers = admit(context, &mut topics).await;
    let Some(acks) = acks else {
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.state.get_or_insert(State::refused(ErrorCode::InvalidRequiredAcks));
        }
        return Ok(refused(context, None, topics));
    };
    let wait = enqueue(context, &mut topics, &mut writers, acks).await;
    Ok(reply(context, Pending { acks, wait, topics }, timeout))
}

/// One topic of a request, on its way to an answer. Most requests have one, with one partition: that takes no memory of its own.
#[derive(Debug)]
struct Topic {
    /// Empty when it is named by id.
    name: TopicName,
    id: TopicId,
    partitions: SmallVec<[TopicPartitionData; 1]>,
}

#[derive(Debug)]
struct TopicPartitionData {
    index: i32,
    records: Bytes,
    /// `None` while it may still be appended.
    state: Option<State>,
}

#[derive(Debug)]
enum State {
    Refused {
        code: ErrorCode,
        message: Option<&'static str>,
    },
    /// The next outcome of the wait is this partition's.
    Enqueued,
}

impl State {
    const fn refused(code: ErrorCode) -> Self {
        Self::Refused { code, message: None }
    }
}

impl Topic {
    fn named(&self, by_id: bool) -> TopicRef<'_> {
        if by_id { TopicRef::Id(self.id) } else { TopicRef::Name(self.name.as_str()) }
    }

    fn refuse(&mut self, code: ErrorCode) {
        for partition in &mut self.partitions {
            partition.state.get_or_insert(State::refused(code));
        }
    }
}

type Topics = SmallVec<[Topic; 1]>;

/// The topics of a request, each once, each partition once; and whether any of its batches is transactional. What comes
/// out holds nothing of the frame but the records.
fn topics_of(request: ProduceRequest, version: i16) -> (Topics, bool) {
    let mut topics = Topics::with_capacity(request.topic_data.len());
    let mut known: HashMap<(ByteString, Uuid), usize> = HashMap::new();
    let mut is_transactional = false;
    let is_single = request.topic_data.len() == 1;
    for data in request.topic_data {
        let at = if is_single { None } else { known.get(&(data.name.clone(), data.topic_id)).copied() };
        let at = at.unwrap_or_else(|| {
            let name = if version < TOPIC_IDS_FROM { TopicName::from(&*data.name) } else { TopicName::from("") };
            topics.push(Topic { name, id: TopicId(data.topic_id), partitions: SmallVec::new() });
            if !is_single {
                known.insert((data.name.clone(), data.topic_id), topics.len() - 1);
            }
            topics.len() - 1
        });
        let Some(topic) = topics.get_mut(at) else { continue };
        for partition in data.partition_data {
            let records = match partition.records {
                Records::Bytes(bytes) => bytes,
                Records::Null | Records::Gap(_) => Bytes::new(),
            };
            is_transactional |= has_transactional_batch(&records);
            topic.partitions.push(TopicPartitionData { index: partition.index, records, state: None });
        }
    }
    topics.iter_mut().for_each(keep_the_last_of_each);
    topics.retain(|topic| !topic.partitions.is_empty());
    (topics, is_transactional)
}

fn keep_the_last_of_each(topic: &mut Topic) {
    if topic.partitions.len() < 2 {
        return;
    }
    let last: HashMap<i32, usize> = topic.partitions.iter().enumerate().map(|(at, p)| (p.index, at)).collect();
    if last.len() < topic.partitions.len() {
        let mut at = 0;
        topic.partitions.retain(|partition| {
            at += 1;
            last.get(&partition.index) == Some(&(at - 1))
        });
    }
}

/// Judges all topics in one call, and refuses what can't be written to. One writer a topic, `None` for a refused one.
async fn admit(context: &RequestContext<'_>, topics: &mut [Topic]) -> SmallVec<[Option<TopicWriter>; 1]> {
    let by_id = context.header.api_version >= TOPIC_IDS_FROM;
    loop {
        let named: SmallVec<[TopicRef<'_>; 1]> = topics.iter().map(|topic| topic.named(by_id)).collect();
        let admissions = context.admit_topics::<op::Write>(&named).await;
        let generation = context.broker.authorizer.generation();
        let mut writers: SmallVec<[_; 1]> = SmallVec::with_capacity(topics.len());
        let mut is_current = true;
        for (admission, named) in admissions.into_iter().zip(&named) {
            let error = admission.error(*named);
            writers.push(match (admission, error) {
                (TopicAdmission::Granted(permit, view), None) => {
                    let writer = context.broker.replicas.writer(permit);
                    is_current &= writer.is_current(generation);
                    Ok((writer, view))
                }
                (_, error) => Err(error.unwrap_or(ErrorCode::UnknownServerError)),
            });
        }
        drop(named);
        // Judged again if the rules have moved: nothing is final before all of it is.
        if is_current {
            return topics.iter_mut().zip(writers).map(|(topic, writer)| settle(context, topic, writer)).collect();
        }
    }
}

fn settle(
    context: &RequestContext<'_>,
    topic: &mut Topic,
    writer: Result<(TopicWriter, TopicView), ErrorCode>,
) -> Option<TopicWriter> {
    let (writer, view) = match writer {
        Ok(granted) => granted,
        Err(code) => {
            topic.refuse(code);
            return None;
        }
    };
    topic.id = view.id();
    topic.name = view.name().clone();
    for partition in &mut topic.partitions {
        if !view.has_partition(partition.index) {
            partition.state.get_or_insert(State::refused(ErrorCode::UnknownTopicOrPartition));
        }
    }
    if view.name().is_internal() {
        topic.refuse(ErrorCode::InvalidTopicException);
    }
    for partition in topic.partitions.iter_mut().filter(|partition| partition.state.is_none()) {
        partition.state = doubt(context, &topic.name, partition);
    }
    Some(writer)
}

/// A producer id that nobody handed out is somebody's invention: *strict* takes none, *compat* does as Kafka.
fn doubt(context: &RequestContext<'_>, topic: &TopicName, partition: &TopicPartitionData) -> Option<State> {
    let id = BatchHeader::parse(&partition.records).map_or(ProducerId::NONE, |header| ProducerId(header.producer_id));
    if !context.is_invented(id) {
        return None;
    }
    let topic = topic.as_str();
    tracing::debug!(target: "schloss.handlers", topic, index = partition.index, producer = %id, "an id nobody gave out");
    context.broker.settings.strict.then_some(State::refused(ErrorCode::UnknownProducerId))
}

/// Hands every partition's records to its lane, in the request's order.
async fn enqueue(
    context: &RequestContext<'_>,
    topics: &mut [Topic],
    writers: &mut [Option<TopicWriter>],
    acks: Acks,
) -> ProduceWait {
    let count = topics.iter().flat_map(|topic| &topic.partitions).filter(|p| p.state.is_none()).count();
    let (wait, mut slots) = ProduceWait::new(count);
    for (topic, writer) in topics.iter_mut().zip(writers) {
        let id = topic.id;
        let name = topic.name.clone();
        for data in topic.partitions.iter_mut().filter(|data| data.state.is_none()) {
            let Some(slot) = slots.next() else { break };
            data.state = Some(State::Enqueued);
            let records = std::mem::take(&mut data.records);
            let partition = context.broker.replicas.find(TopicIdPartition { topic_id: id, partition: data.index });
            append(context, &name, writer, partition, records, acks, slot).await;
        }
    }
    wait
}

/// Waits where the partition's lane has no room, and judges again where rights have moved meanwhile.
async fn append(
    context: &RequestContext<'_>,
    name: &TopicName,
    writer: &mut Option<TopicWriter>,
    partition: Option<Arc<Partition>>,
    records: Bytes,
    acks: Acks,
    slot: ProduceSlot,
) {
    let wakes = &mut crate::replica::doorbell::Wakes::default();
    let Some(current) = &*writer else { return slot.finish(Err(ProduceError::Denied), wakes) };
    // In the metadata, but not here: another broker's, or about to come.
    let Some(partition) = partition else { return slot.finish(Err(AccessError::NotLeader.into()), wakes) };
    let zstd_allowed = context.header.api_version >= ZSTD_FROM;
    let now = context.broker.clock.wall();
    let mut outcome = current.append(&partition, records, acks, zstd_allowed, now, slot);
    loop {
        match outcome {
            Ok(ticket) => {
                if let Some(ticket) = ticket {
                    context.connection.writes.borrow_mut().add(ticket);
                }
                return;
            }
            Err(full) => {
                poll_fn(|task| full.poll_space(task)).await;
                if !writer.as_ref().is_some_and(|w| w.is_current(context.broker.authorizer.generation())) {
                    *writer = judge_again(context, name, partition.id().topic_id).await;
                }
                let Some(current) = &*writer else { return full.refuse(ProduceError::Denied) };
                outcome = current.retry(full);
            }
        }
    }
}

async fn judge_again(context: &RequestContext<'_>, name: &TopicName, id: TopicId) -> Option<TopicWriter> {
    match context.admit_topics::<op::Write>(&[TopicRef::Name(name.as_str())]).await.pop() {
        Some(TopicAdmission::Granted(permit, view)) if view.id() == id => Some(context.broker.replicas.writer(permit)),
        _ => None,
    }
}

/// A request whose records are on their way.
#[derive(Debug)]
struct Pending {
    acks: Acks,
    wait: ProduceWait,
    topics: Topics,
}

fn reply(context: &RequestContext<'_>, pending: Pending, timeout: Duration) -> Reply {
    let responder = context.responder();
    if pending.wait.poll_done(&std::task::Context::from_waker(std::task::Waker::noop())).is_ready() {
        return match answer(context, responder, pending) {
            LaterReply::Respond(response) => Reply::Now(response),
            LaterReply::None => Reply::None,
            LaterReply::Close(reason) => Reply::Close(reason),
        };
    }
    let asker = Asker::new(context);
    Reply::Later(Box::pin(async move {
        complete(&pending, timeout).await;
        answer(&asker.context(), responder, pending)
    }))
}

/// Waits for the lanes, and with acks=all for the others, as long as the client wants.
async fn complete(pending: &Pending, timeout: Duration) {
    let done = poll_fn(|task| pending.wait.poll_done(task));
    if pending.acks != Acks::All {
        return done.await;
    }
    if tokio::time::timeout(timeout, done).await.is_err() {
        // What no lane has taken up yet may still be appended: it can't have timed out.
        poll_fn(|task| match pending.wait.poll_done(task) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => pending.wait.poll_appended(task),
        })
        .await;
    }
}

fn answer(context: &RequestContext<'_>, responder: Responder, pending: Pending) -> LaterReply {
    let Pending { acks, wait, topics } = pending;
    let outcomes = wait.finish();
    if acks == Acks::None {
        return without_acks(&topics, &outcomes);
    }
    LaterReply::Respond(respond(context, responder, topics, outcomes))
}

fn without_acks(topics: &[Topic], outcomes: &[PartitionOutcome]) -> LaterReply {
    let mut outcomes = outcomes.iter();
    for topic in topics {
        for partition in &topic.partitions {
            let code = match &partition.state {
                Some(State::Refused { code, .. }) => *code,
                Some(State::Enqueued) | None => match outcomes.next() {
                    Some(Err(error)) => error.code(),
                    Some(Ok(_)) | None => continue,
                },
            };
            let (name, index, error) = (topic.name.as_str(), partition.index, code.name());
            return LaterReply::Close(CloseReason::ProduceWithoutAcks(format!("{name:?}-{index}: {error}")));
        }
    }
    LaterReply::None
}

/// Nothing was enqueued.
fn refused(context: &RequestContext<'_>, acks: Option<Acks>, topics: Topics) -> Reply {
    if acks == Some(Acks::None) {
        return match without_acks(&topics, &[]) {
            LaterReply::Close(reason) => Reply::Close(reason),
            LaterReply::None | LaterReply::Respond(_) => Reply::None,
        };
    }
    Reply::Now(respond(context, context.responder(), topics, Vec::new()))
}

fn respond(
    context: &RequestContext<'_>,
    responder: Responder,
    topics: Topics,
    outcomes: Vec<PartitionOutcome>,
) -> Response {
    let mut response = ProduceResponse::default();
    let mut outcomes = outcomes.into_iter();
    for topic in topics {
        let mut partition_responses = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut answer = match &partition.state {
                Some(State::Refused { code, message }) => failed(partition.index, *code, message.map(ByteString::from)),
                Some(State::Enqueued) | None => match outcomes.next() {
                    Some(outcome) => answered(context, &topic.name, partition.index, outcome),
                    None => failed(partition.index, ErrorCode::UnknownServerError, None),
                },
            };
            let is_misdirected = answer.error_code == ErrorCode::NotLeaderOrFollower.code();
            if is_misdirected && responder.version() >= CURRENT_LEADER_FROM {
                let leader = context.current_leader(topic.id, partition.index);
                answer.current_leader = LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch };
                let is_named = |known: &NodeEndpoint| known.node_id == leader.id;
                if let Some(broker) = leader.broker
                    && !response.node_endpoints.iter().any(is_named)
                {
                    response.node_endpoints.push(NodeEndpoint {
                        node_id: broker.id,
                        host: (&*broker.host).into(),
                        port: broker.port,
                        rack: broker.rack.map(|rack| (&*rack).into()),
                    });
                }
            }
            partition_responses.push(answer);
        }
        response.responses.push(TopicProduceResponse {
            name: topic.name.as_str().into(),
            topic_id: topic.id.0,
            partition_responses,
        });
    }
    responder.respond(&response)
}

fn failed(index: i32, code: ErrorCode, error_message: Option<ByteString>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message,
        ..Default::default()
    }
}

fn answered(
    context: &RequestContext<'_>,
    topic: &TopicName,
    index: i32,
    outcome: PartitionOutcome,
) -> PartitionProduceResponse {
    let error = match outcome {
        Ok(appended) => {
            return PartitionProduceResponse {
                index,
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time,
                log_start_offset: appended.log_start_offset,
                ..Default::default()
            };
        }
        Err(error) => error,
    };
    let mut answer = failed(index, error.code(), None);
    answer.log_start_offset = error.log_start_offset();
    if let ProduceError::Records { error, .. } = &error {
        let partition = TopicPartition { topic: topic.clone(), partition: index };
        answer.error_message = error.message(&partition).map(Into::into);
        let blamed = error.record_errors(&partition).into_iter();
        answer.record_errors = blamed
            .map(|(batch_index, text)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(text.into()),
            })
            .collect();
        context.report_refused_records(&partition, error);
    }
    tracing::debug!(target: "schloss.handlers", topic = topic.as_str(), index, %error, "records refused");
    answer
}
