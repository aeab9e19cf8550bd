//! One look at the partitions of a fetch: who may read them, and what there is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Overtaken, Subject, Terms};
use crate::handlers::RequestContext;
use crate::handlers::asker::Asker;
use crate::handlers::context::{TopicAdmission, TopicRef};
use crate::log::index_file::Access;
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicIdPartition};
use crate::replica::fetch_session::entries::{Entries, FetchPartition, Seen, TopicKey};
use crate::replica::partition::{FetchError, Partition, PartitionRead, ReadLimit};
use crate::replica::reader::TopicReader;
use crate::security::authorizer::permit::{Resource, op};

/// Is there enough for an answer?
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Answer,
    Wait { missing: u64 },
}

/// What was found so far, by slot.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) by_slot: BTreeMap<u32, Finding>,
    /// The slots of the last look, in its order.
    pub(super) order: Vec<u32>,
    /// Partitions that could not be looked at from the beginning: they do not end the wait.
    hopeless: HashSet<u32>,
    looks: usize,
}

/// What was found of one partition.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) topic: TopicKey,
    /// Zero where the topic is not known.
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Read(PartitionRead),
    /// Found and allowed, but not readable.
    Failed(ErrorCode),
    /// Not allowed, or not there.
    Refused(ErrorCode),
}

/// An entry to look at, apart from the entries.
#[derive(Debug)]
struct Look {
    slot: u32,
    topic: TopicKey,
    wanted: FetchPartition,
}

/// What a topic's name or id leads to.
enum Judged {
    Open { id: TopicId, partitions: usize, reader: Arc<TopicReader> },
    Refused(ErrorCode),
}

/// Looks at every dirty entry.
pub(super) async fn evaluate(
    asker: &Asker,
    terms: &Terms,
    subject: &mut Subject,
    is_watched: bool,
    found: &mut Found,
) -> Result<Verdict, Overtaken> {
    let context = asker.context();
    let authorizer = &context.broker.authorizer;
    loop {
        let generation = authorizer.generation();
        let (looks, entries) = subject.with(|entries| {
            entries.judged_by(generation);
            entries.take_marks();
            (looks(entries), entries.len())
        })?;
        let judged = judge(&context, terms, &looks).await;
        let resolved = resolve(&context, subject, &looks, &judged, is_watched)?;
        found.order.clear();
        let mut left = ReadLimit { max_bytes: terms.max_bytes, at_least_one: true };
        for (look, resolved) in looks.into_iter().zip(resolved) {
            let Look { slot, topic, wanted } = look;
            let (topic_id, outcome) = match resolved {
                Err((id, code)) => (id, Outcome::Refused(code)),
                Ok((partition, reader)) => {
                    let id = partition.id().topic_id;
                    (id, read(&reader, &partition, &wanted, terms, &mut left).await)
                }
            };
            found.order.push(slot);
            found.by_slot.insert(slot, Finding { topic, topic_id, partition: wanted.partition, outcome });
        }
        // Judged by rules that are gone: once more.
        if authorizer.generation() == generation {
            return Ok(found.verdict(terms, entries));
        }
    }
}

fn looks(entries: &Entries) -> Vec<Look> {
    let look = |(slot, entry): (u32, &crate::replica::fetch_session::entries::Entry)| Look {
        slot,
        topic: entry.topic.clone(),
        wanted: entry.wanted.clone(),
    };
    entries.dirty().map(look).collect()
}

/// Judges every topic that is looked at, in one call.
async fn judge(context: &RequestContext<'_>, terms: &Terms, looks: &[Look]) -> HashMap<TopicKey, Judged> {
    let mut keys: Vec<&TopicKey> = Vec::new();
    let mut known = HashSet::new();
    for look in looks {
        if keys.last() != Some(&&look.topic) && known.insert(&look.topic) {
            keys.push(&look.topic);
        }
    }
    let refs: Vec<TopicRef<'_>> = keys
        .iter()
        .map(|key| match key {
            TopicKey::Name(name) => TopicRef::Name(name.as_str()),
            TopicKey::Id(id) => TopicRef::Id(*id),
        })
        .collect();
    let judged = match terms.replica {
        Some(replica) => judge_replica(context, replica, &refs).await,
        None => judge_consumer(context, &refs).await,
    };
    keys.into_iter().cloned().zip(judged).collect()
}

async fn judge_consumer(context: &RequestContext<'_>, topics: &[TopicRef<'_>]) -> Vec<Judged> {
    let admissions = context.admit_topics::<op::Read>(topics).await;
    let judged = admissions.into_iter().zip(topics).map(|(admission, named)| {
        let error = admission.error(*named);
        match (admission, error) {
            (TopicAdmission::Granted(permit, view), None) => Judged::Open {
                id: view.id(),
                reader: Arc::new(context.broker.replicas.reader(permit)),
                partitions: view.partition_count(),
            },
            (_, error) => Judged::Refused(error.unwrap_or(ErrorCode::UnknownServerError)),
        }
    });
    judged.collect()
}

async fn judge_replica(
    context: &RequestContext<'_>,
    replica: crate::model::broker::BrokerId,
    topics: &[TopicRef<'_>],
) -> Vec<Judged> {
    let Ok(permit) = context.admit_one::<op::ClusterAction>(Resource::Cluster).await else {
        return topics.iter().map(|_| Judged::Refused(ErrorCode::TopicAuthorizationFailed)).collect();
    };
    let known = context.topics_for_replica(&permit, topics);
    let reader = Arc::new(context.broker.replicas.replica_reader(permit, replica));
    let judged = known.into_iter().zip(topics).map(|(known, named)| match (known, named) {
        (Some(topic), _) => Judged::Open { id: topic.id, reader: Arc::clone(&reader), partitions: topic.partitions },
        (None, TopicRef::Name(_)) => Judged::Refused(ErrorCode::UnknownTopicOrPartition),
        (None, TopicRef::Id(_)) => Judged::Refused(ErrorCode::UnknownTopicId),
    });
    judged.collect()
}

type Resolved = Result<(Arc<Partition>, Arc<TopicReader>), (TopicId, ErrorCode)>;

/// Finds the partitions, and has them watched before they are read.
fn resolve(
    context: &RequestContext<'_>,
    subject: &mut Subject,
    looks: &[Look],
    judged: &HashMap<TopicKey, Judged>,
    is_watched: bool,
) -> Result<Vec<Resolved>, Overtaken> {
    subject.with(|entries| {
        looks
            .iter()
            .map(|look| {
                let resolved = resolve_one(context, entries, look, judged);
                match &resolved {
                    Ok((partition, _)) if is_watched => entries.watch(look.slot, partition.watchers()),
                    Ok(_) => {}
                    Err(_) => entries.unwatch(look.slot),
                }
                resolved
            })
            .collect()
    })
}

fn resolve_one(
    context: &RequestContext<'_>,
    entries: &mut Entries,
    look: &Look,
    judged: &HashMap<TopicKey, Judged>,
) -> Resolved {
    let (id, partitions, reader) = match judged.get(&look.topic) {
        Some(Judged::Open { id, partitions, reader }) => (*id, *partitions, reader),
        Some(Judged::Refused(code)) => return Err((TopicId::ZERO, *code)),
        None => return Err((TopicId::ZERO, ErrorCode::UnknownServerError)),
    };
    let exists = usize::try_from(look.wanted.partition).is_ok_and(|index| index < partitions);
    if !entries.means(look.slot, id) || !exists {
        return Err((id, ErrorCode::UnknownTopicOrPartition));
    }
    let partition = TopicIdPartition { topic_id: id, partition: look.wanted.partition };
    // In the metadata, but not here: another broker's, or about to come.
    let partition = context.broker.replicas.find(partition).ok_or((id, ErrorCode::NotLeaderOrFollower))?;
    Ok((partition, Arc::clone(reader)))
}

/// Reads one partition, on another thread if the disk must be waited for.
async fn read(
    reader: &Arc<TopicReader>,
    partition: &Arc<Partition>,
    wanted: &FetchPartition,
    terms: &Terms,
    left: &mut ReadLimit,
) -> Outcome {
    let (isolation, limit) = (terms.isolation, *left);
    let result = match reader.read(partition, wanted, isolation, limit, Access::Cached) {
        Err(error) if error.would_block() => {
            let (reader, partition, wanted) = (Arc::clone(reader), Arc::clone(partition), wanted.clone());
            let blocking = tokio::task::spawn_blocking(move || {
                reader.read(&partition, &wanted, isolation, limit, Access::Blocking)
            });
            match blocking.await {
                Ok(result) => result,
                Err(_) => return Outcome::Failed(ErrorCode::UnknownServerError),
            }
        }
        result => result,
    };
    match result {
        Ok(read) => {
            if read.bytes() > 0 {
                left.at_least_one = false;
                left.max_bytes = left.max_bytes.saturating_sub(read.bytes());
            }
            Outcome::Read(read)
        }
        Err(error) => {
            report(partition, &error);
            Outcome::Failed(error.code())
        }
    }
}

fn report(partition: &Partition, error: &FetchError) {
    use crate::log::view::ReadError;
    if let FetchError::Read(ReadError::Damage { .. }) = error {
        tracing::error!(target: "schloss.log", partition = %partition.name(), %error, "the log is damaged");
    } else {
        tracing::debug!(target: "schloss.handlers", partition = %partition.name(), %error, "fetch refused");
    }
}

impl Found {
    /// `ReplicaManager.fetchMessages` and `DelayedFetch.tryComplete`.
    fn verdict(&mut self, terms: &Terms, entries: usize) -> Verdict {
        self.looks += 1;
        let mut bytes = 0_u64;
        let mut is_urgent = false;
        for slot in &self.order {
            let Some(finding) = self.by_slot.get(slot) else { continue };
            match &finding.outcome {
                Outcome::Read(read) => {
                    self.hopeless.remove(slot);
                    bytes += u64::from(read.bytes());
                    is_urgent |= read.diverging.is_some();
                }
                Outcome::Failed(_) => is_urgent = true,
                Outcome::Refused(_) if self.looks == 1 => {
                    self.hopeless.insert(*slot);
                }
                // It happened during the wait.
                Outcome::Refused(_) => is_urgent |= !self.hopeless.contains(slot),
            }
        }
        let nothing_readable = self.hopeless.len() >= entries;
        let min_bytes = u64::from(terms.min_bytes);
        if is_urgent || nothing_readable || bytes >= min_bytes {
            Verdict::Answer
        } else {
            Verdict::Wait { missing: min_bytes - bytes }
        }
    }

    fn seen(&self) -> impl Iterator<Item = (u32, Seen)> {
        self.by_slot.iter().map(|(slot, finding)| (*slot, finding.seen()))
    }

    /// What was looked at and has nothing to say needs no second look.
    pub(super) fn settle_waiting(&self, entries: &mut Entries) {
        let seen = self.order.iter().filter_map(|slot| Some((*slot, self.by_slot.get(slot)?.seen())));
        entries.settle_waiting(seen.collect::<Vec<_>>());
    }

    /// Only what differs from the session's last answer is told.
    pub(super) fn keep_changed(&mut self, entries: &Entries) {
        self.by_slot.retain(|slot, finding| entries.differs(*slot, &finding.seen()));
    }

    pub(super) fn settle_answered(&self, entries: &mut Entries) {
        entries.settle_answered(self.seen().collect::<Vec<_>>());
    }
}

impl Finding {
    fn seen(&self) -> Seen {
        match &self.outcome {
            Outcome::Read(read) => Seen {
                is_error: false,
                is_diverging: read.diverging.is_some(),
                bytes: usize::try_from(read.bytes()).unwrap_or(usize::MAX),
                is_cut: read.has_more,
                high_watermark: read.high_watermark,
                log_start: read.log_start_offset,
            },
            Outcome::Failed(_) | Outcome::Refused(_) => {
                Seen { is_error: true, high_watermark: -1, log_start: -1, ..Seen::default() }
            }
        }
    }
}
