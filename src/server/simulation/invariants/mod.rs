//! What must hold whatever happens, one type a promise.
//!
//! An invariant hears every [`Event`] and knows nothing of the broker but what events say: it judges as a client does.

mod acknowledged;
mod changes;
mod images;
mod order;
mod owners;
mod positions;
mod progress;
mod reads;
mod watermark;

use std::fmt;

use crate::metadata::image::MetadataImage;
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicIdPartition};

pub(super) use acknowledged::NothingAcknowledgedLost;
pub(super) use changes::{ChangesStay, Subject};
pub(super) use images::ImageEqualsReplay;
pub(super) use order::NothingDoubledOrReordered;
pub(super) use owners::OneOwner;
pub(super) use positions::PositionsStay;
pub(super) use progress::{EverythingIsAnswered, StartsAgain};
pub(super) use reads::ReadsStay;
pub(super) use watermark::MonotoneHighWatermark;

/// A promise.
pub(super) trait Invariant {
    /// # Errors
    /// The event breaks it.
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation>;
}

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(NothingAcknowledgedLost::default()),
        Box::new(NothingDoubledOrReordered),
        Box::new(ReadsStay::default()),
        Box::new(MonotoneHighWatermark::default()),
        Box::new(OneOwner::default()),
        Box::new(PositionsStay::default()),
        Box::new(ChangesStay::default()),
        Box::new(ImageEqualsReplay),
        Box::new(StartsAgain),
        Box::new(EverythingIsAnswered),
    ]
}

/// What broke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Violation {
    pub(super) of: &'static str,
    pub(super) what: String,
}

impl Violation {
    fn new(of: &'static str, what: impl Into<String>) -> Self {
        Self { of, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.what)
    }
}

/// What a client asked for under a number of its own came to an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Done,
    /// Nothing has changed, and nothing will.
    Refused(ErrorCode),
    /// It may have been done.
    Unknown,
}

/// What clients, and whoever looks at the broker from outside, see.
pub(super) enum Event<'a> {
    /// The broker serves, after a crash or for the first time.
    Started,
    /// The broker can't start, on a disk that works.
    NotStarted {
        why: &'a str,
    },
    /// `acks=all` was answered.
    Acknowledged {
        place: TopicIdPartition,
        base_offset: i64,
        values: &'a [String],
    },
    /// A batch that follows nothing but acknowledged ones was refused for good.
    BatchRefused {
        place: TopicIdPartition,
        value: &'a str,
        why: &'a str,
    },
    /// A consumer got a record.
    Read {
        place: TopicIdPartition,
        offset: i64,
        value: &'a str,
    },
    /// A consumer got all records there are.
    ReadThrough {
        place: TopicIdPartition,
        records: &'a [(i64, String)],
    },
    /// What a leader says of its partition.
    HighWatermark {
        place: TopicIdPartition,
        offset: i64,
    },
    /// Somebody wants the topic deleted: nothing is promised of it from here on.
    TopicDoomed {
        topic: TopicId,
    },
    /// A member was told what is its own.
    Assigned {
        generation: i32,
        member: &'a str,
        shares: &'a [i32],
    },
    CommitAsked {
        number: u64,
        share: i32,
        generation: i32,
        offset: i64,
    },
    CommitEnded {
        number: u64,
        outcome: Outcome,
    },
    PositionRead {
        share: i32,
        offset: i64,
    },
    ChangeAsked {
        subject: &'a Subject,
        to: Option<&'a str>,
    },
    ChangeEnded {
        subject: &'a Subject,
        outcome: Outcome,
    },
    /// The image of everything that is committed.
    Committed(&'a MetadataImage),
    /// An image in memory, and one that was made of what is on the disk.
    Images {
        how: &'static str,
        live: &'a MetadataImage,
        replayed: &'a MetadataImage,
    },
    /// Nothing fails any more, and there was time enough.
    Settled {
        unanswered: usize,
        unreadable: usize,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => write!(f, "started"),
            Self::NotStarted { why } => write!(f, "not started: {why}"),
            Self::Acknowledged { place, base_offset, values } => {
                write!(f, "acknowledged {} at {base_offset} of {}", values.join(","), Place(*place))
            }
            Self::BatchRefused { place, value, why } => write!(f, "{value} refused by {}: {why}", Place(*place)),
            Self::Read { place, offset, value } => write!(f, "read {value} at {offset} of {}", Place(*place)),
            Self::ReadThrough { place, records } => {
                write!(f, "read through {}: {} records", Place(*place), records.len())
            }
            Self::HighWatermark { place, offset } => write!(f, "high watermark {offset} of {}", Place(*place)),
            Self::TopicDoomed { topic } => write!(f, "deletion of {} asked for", topic.0),
            Self::Assigned { generation, member, shares } => {
                write!(f, "generation {generation}: {shares:?} are {member}'s")
            }
            Self::CommitAsked { number, share, generation, offset } => {
                write!(f, "commit {number}: {offset} for {share} in generation {generation}")
            }
            Self::CommitEnded { number, outcome } => write!(f, "commit {number}: {outcome:?}"),
            Self::PositionRead { share, offset } => write!(f, "position of {share} is {offset}"),
            Self::ChangeAsked { subject, to } => write!(f, "change of {subject} to {to:?}"),
            Self::ChangeEnded { subject, outcome } => write!(f, "change of {subject}: {outcome:?}"),
            Self::Committed(image) => write!(f, "committed up to {}", image.offset()),
            Self::Images { how, live, replayed } => {
                write!(f, "{how}: up to {} and {}", live.offset(), replayed.offset())
            }
            Self::Settled { unanswered, unreadable } => {
                write!(f, "settled, {unanswered} unanswered, {unreadable} unreadable")
            }
        }
    }
}

/// A partition, short.
struct Place(TopicIdPartition);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.topic_id.0, self.0.partition)
    }
}
