//! Fetch v4–18 (sessions KIP-227 from v7; leader epochs KIP-320 from v9; preferred replica KIP-392 from v11; truncation
//! KIP-595 from v12; topic ids KIP-516 from v13; replica state KIP-903 from v15; where the leader is KIP-951 from v16).
//!
//! A consumer needs Read on each topic, a follower (a replica id of 0 or more, in either place) ClusterAction on the
//! cluster: without it TOPIC_AUTHORIZATION_FAILED on every partition. By name the right comes before whether the topic
//! exists; an unknown id is UNKNOWN_TOPIC_ID. `__cluster_metadata` does not exist here.
//!
//! The request is answered when `min_bytes` are there, `max_wait_ms` has passed, or a partition can't be read. What keeps a
//! partition from being looked at at all (rights, existence) does not end the wait of the others, as in Kafka, unless it
//! happens during the wait. Rights are judged anew for every answer, so one that is taken away ends a long poll. Records
//! are not read here: the answer holds ranges of files.

mod evaluate;
mod respond;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::asker::{Asker, after_writes, writes_before};
use super::{LaterReply, Order, Reply, RequestContext, Responder, Response, Spec};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicName};
use crate::model::uuid::Uuid;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::fetch_request::FetchRequest;
use crate::protocol::messages::fetch_response::FetchResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::replica::fetch_session::cache::{FetchNames, SessionOwner};
use crate::replica::fetch_session::entries::{Entries, FetchPartition, TopicKey};
use crate::replica::fetch_session::{FetchContext, FetchSession};
use crate::replica::partition::IsolationLevel;
use crate::replica::watchers::{Interest, Marks};
use crate::replica::writer::WriteTicket;

use evaluate::{Found, Verdict, evaluate};
use respond::respond;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::Fetch, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// Topics are named by id from this version on.
const TOPIC_IDS_FROM: i16 = 13;
/// The replica's id stands in its own structure from this version on.
const REPLICA_STATE_FROM: i16 = 15;
const READ_COMMITTED: i8 = 1;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = FetchRequest::decode(&mut Reader::new(body), version)?;
    let replica_id = if version < REPLICA_STATE_FROM { request.replica_id } else { request.replica_state.replica_id };
    let replica = (replica_id >= 0).then_some(BrokerId(replica_id));
    let isolation = match (replica, request.isolation_level) {
        (Some(_), _) => IsolationLevel::LogEnd,
        (None, READ_COMMITTED) => IsolationLevel::ReadCommitted,
        (None, _) => IsolationLevel::ReadUncommitted,
    };
    let limit = u32::try_from(context.broker.config.settings.fetch_max_bytes).unwrap_or(0);
    let max_bytes = u32::try_from(request.max_bytes).unwrap_or(0).min(limit);
    let terms = Terms {
        replica,
        isolation,
        max_bytes,
        min_bytes: u32::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    };
    let owner = SessionOwner { principal: context.principal(), privileged: replica.is_some() };
    let uses_topic_ids = version >= TOPIC_IDS_FROM;
    let names = names_of(&request, uses_topic_ids, interest(isolation));
    let now = context.broker.clock.mono();
    let subject = match context.broker.replicas.sessions().context(names, &owner, now) {
        Ok(FetchContext::Sessionless(entries)) => Subject::Own { entries, remember: None },
        Ok(FetchContext::Full(entries)) => Subject::Own { entries, remember: Some(Remember { owner, uses_topic_ids }) },
        Ok(FetchContext::Incremental { session, epoch }) => Subject::Session { session, epoch },
        Err(error) => return Ok(Reply::Now(failed(context.responder(), error.code()))),
    };
    let fetch = Fetch {
        asker: Asker::new(context),
        responder: context.responder(),
        terms,
        subject,
        writes: writes_before(context),
    };
    Ok(Reply::Later(Box::pin(fetch.complete())))
}

/// What the client asks of the answer as a whole.
#[derive(Debug, Clone, Copy)]
struct Terms {
    replica: Option<BrokerId>,
    isolation: IsolationLevel,
    max_bytes: u32,
    min_bytes: u32,
    max_wait: Duration,
}

/// A request on its way to its answer.
#[derive(Debug)]
struct Fetch {
    asker: Asker,
    responder: Responder,
    terms: Terms,
    subject: Subject,
    writes: Vec<WriteTicket>,
}

/// Whose partitions are looked at.
#[derive(Debug)]
enum Subject {
    /// Those of this request; all of them are answered.
    Own { entries: Entries, remember: Option<Remember> },
    /// Those of a session; what has changed is answered.
    Session { session: Arc<FetchSession>, epoch: i32 },
}

/// A full fetch that asks for a session.
#[derive(Debug)]
struct Remember {
    owner: SessionOwner,
    uses_topic_ids: bool,
}

/// Another request of the same session has come in between.
#[derive(Debug)]
struct Overtaken;

impl Subject {
    /// Does something with the entries, while nobody else does.
    fn with<R>(&mut self, act: impl FnOnce(&mut Entries) -> R) -> Result<R, Overtaken> {
        match self {
            Self::Own { entries, .. } => Ok(act(entries)),
            Self::Session { session, epoch } => {
                let mut state = session.lock();
                if state.epoch == *epoch { Ok(act(&mut state.entries)) } else { Err(Overtaken) }
            }
        }
    }

    /// Entries that outlive the request are always watched; others only once it waits.
    fn is_watched(&self) -> bool {
        !matches!(self, Self::Own { remember: None, .. })
    }
}

impl Fetch {
    async fn complete(mut self) -> LaterReply {
        after_writes(std::mem::take(&mut self.writes)).await;
        let responder = self.responder;
        LaterReply::Respond(match self.answer().await {
            Ok(response) => response,
            Err(Overtaken) => failed(responder, ErrorCode::InvalidFetchSessionEpoch),
        })
    }

    async fn answer(mut self) -> Result<Response, Overtaken> {
        let mut sleep = pin!(tokio::time::sleep(self.terms.max_wait));
        let mut is_watched = self.subject.is_watched();
        // A session's marks are known where rights change.
        let mut is_announced = matches!(self.subject, Subject::Session { .. });
        let mut found = Found::default();
        let mut is_last = self.terms.max_wait.is_zero();
        loop {
            let verdict = evaluate(&self.asker, &self.terms, &mut self.subject, is_watched, &mut found).await?;
            let missing = match verdict {
                Verdict::Answer => break,
                Verdict::Wait { .. } if is_last => break,
                Verdict::Wait { missing } => missing,
            };
            let marks = self.subject.with(|entries| {
                found.settle_waiting(entries);
                Arc::clone(entries.marks())
            })?;
            if !is_announced {
                // From now on whatever changes is noticed; what changed before is found by one more look.
                is_announced = true;
                self.asker.broker().replicas.watch_authorization(&marks);
                if !std::mem::replace(&mut is_watched, true) {
                    self.subject.with(Entries::touch_all)?;
                }
                continue;
            }
            is_last = wait(&marks, missing, sleep.as_mut()).await;
        }
        let context = self.asker.context();
        let session_id = match self.subject {
            Subject::Own { mut entries, remember } => {
                found.settle_answered(&mut entries);
                remember.map_or(FetchSession::NO_ID, |remember| {
                    let now = context.broker.clock.mono();
                    let sessions = context.broker.replicas.sessions();
                    sessions.remember(entries, remember.uses_topic_ids, &remember.owner, now, random)
                })
            }
            Subject::Session { ref session, .. } => {
                let id = session.id();
                self.subject.with(|entries| {
                    found.settle_waiting(entries);
                    found.keep_changed(entries);
                    found.settle_answered(entries);
                })?;
                id
            }
        };
        Ok(respond(&context, self.responder, session_id, found, &self.terms))
    }
}

/// Sleeps until enough has come or the time is over. Returns whether it is over.
async fn wait(marks: &Marks, missing: u64, mut sleep: std::pin::Pin<&mut tokio::time::Sleep>) -> bool {
    poll_fn(|task| {
        if marks.poll_marked(missing, task).is_ready() {
            return Poll::Ready(false);
        }
        sleep.as_mut().poll(task).map(|()| true)
    })
    .await
}

fn interest(isolation: IsolationLevel) -> Interest {
    match isolation {
        IsolationLevel::LogEnd => Interest::LogEnd,
        IsolationLevel::ReadUncommitted => Interest::HighWatermark,
        IsolationLevel::ReadCommitted => Interest::LastStable,
    }
}

/// What the request names, without its frame.
fn names_of(request: &FetchRequest, uses_topic_ids: bool, interest: Interest) -> FetchNames {
    let key = |name: &str, id: Uuid| {
        if uses_topic_ids { TopicKey::Id(TopicId(id)) } else { TopicKey::Name(TopicName::from(name)) }
    };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let key = key(&topic.topic, topic.topic_id);
        wanted.extend(topic.partitions.iter().map(|partition| {
            let partition = FetchPartition {
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
            };
            (key.clone(), partition)
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = key(&topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|partition| (key.clone(), *partition)));
    }
    FetchNames {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        uses_topic_ids,
        interest,
        wanted,
        forgotten,
    }
}

/// The request is refused as a whole.
fn failed(responder: Responder, code: ErrorCode) -> Response {
    responder.respond(&FetchResponse { error_code: code.code(), ..Default::default() })
}

/// A session's id. It is no secret, only hard to hit by accident; without randomness there is no session.
fn random() -> i32 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => i32::from_be_bytes(bytes) & i32::MAX,
        Err(_) => 0,
    }
}
