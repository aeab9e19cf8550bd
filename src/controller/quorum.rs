//! What the metadata quorum is: this node (`DescribeQuorum`, KIP-595).

use super::{Context, Controller, ControllerResponse, Outcome};
use crate::metadata::cluster::EndPoint;
use crate::model::broker::BrokerId;
use crate::model::uuid::Uuid;
use crate::security::authorizer::permit::{Permit, op};

/// `DescribeQuorum`.
#[derive(Debug)]
pub struct DescribeQuorum {
    /// For the cluster.
    pub permit: Permit<op::Describe>,
}

/// Where the quorum stands, as whoever owns its log knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuorumState {
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub directory_id: Uuid,
}

/// The quorum's leader and only voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedQuorum {
    pub leader: BrokerId,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub log_end_offset: i64,
    pub directory_id: Uuid,
    /// The controller's listeners.
    pub end_points: Vec<EndPoint>,
}

impl Controller {
    pub(super) fn describe_quorum(&self, cx: &Context<'_>) -> Outcome {
        let leader = self.settings.node_id;
        let own = self.image.cluster.controllers().find(|controller| controller.id == leader.0);
        let described = DescribedQuorum {
            leader,
            leader_epoch: cx.quorum.leader_epoch,
            high_watermark: cx.quorum.high_watermark,
            log_end_offset: cx.next_offset,
            directory_id: cx.quorum.directory_id,
            end_points: own.map(|controller| controller.end_points.clone()).unwrap_or_default(),
        };
        Outcome::new(Vec::new(), ControllerResponse::DescribeQuorum(described))
    }
}
