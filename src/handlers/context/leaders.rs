//! Where a client that asked the wrong broker should go (KIP-951), and where a broker's fetch should go.

use super::{BrokerView, RequestContext, TopicRef};
use crate::model::broker::BrokerId;
use crate::model::topic::{TopicId, TopicName};
use crate::security::authorizer::permit::{Permit, op};

/// A partition's leader for a client that may see the topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentLeader {
    /// -1: none.
    pub id: i32,
    /// -1: not known.
    pub epoch: i32,
    /// Its address on the listener that the request came in by.
    pub broker: Option<BrokerView>,
}

impl CurrentLeader {
    const UNKNOWN: Self = Self { id: -1, epoch: -1, broker: None };
}

/// What a broker's fetch must know of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownTopic {
    pub id: TopicId,
    pub name: TopicName,
    pub partitions: usize,
}

impl RequestContext<'_> {
    /// `KafkaApis.getCurrentLeader`. Only for topics on which the principal was granted something.
    pub fn current_leader(&self, topic: TopicId, partition: i32) -> CurrentLeader {
        let image = self.broker.image.load();
        let Some(found) = image.topics.partition(topic, partition) else { return CurrentLeader::UNKNOWN };
        let leader = found.leader;
        CurrentLeader {
            id: leader.0,
            epoch: found.leader_epoch,
            broker: self.brokers(false).into_iter().find(|broker| BrokerId(broker.id) == leader),
        }
    }

    /// Topics for a request that another broker makes, by its right on the cluster; in order.
    pub fn topics_for_replica(
        &self,
        _permit: &Permit<op::ClusterAction>,
        topics: &[TopicRef<'_>],
    ) -> Vec<Option<KnownTopic>> {
        let image = self.broker.image.load();
        let known = |topic: &TopicRef<'_>| {
            let found = match topic {
                TopicRef::Name(name) => image.topics.by_name(name),
                TopicRef::Id(id) => image.topics.by_id(*id),
            }?;
            Some(KnownTopic { id: found.id, name: found.name.clone(), partitions: found.partition_count() })
        };
        topics.iter().map(known).collect()
    }
}
