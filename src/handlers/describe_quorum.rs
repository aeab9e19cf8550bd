//! DescribeQuorum v0–2 (KIP-595; fetch times KIP-836 from v1; directories, texts and nodes KIP-853 from v2).
//!
//! Needs Describe on the cluster, else CLUSTER_AUTHORIZATION_FAILED. There is one partition to ask about, the metadata
//! log's; any other is UNKNOWN_TOPIC_OR_PARTITION. The quorum is this node.

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ControllerRequest, ControllerResponse, DescribeQuorum, DescribedQuorum};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use crate::protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeQuorum, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeQuorumRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = match describe(context).await {
        Ok(quorum) => answer(context, &request, &quorum),
        Err(code) => DescribeQuorumResponse {
            error_code: code.code(),
            error_message: Some(code.message().into()),
            ..Default::default()
        },
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn describe(context: &RequestContext<'_>) -> Result<DescribedQuorum, ErrorCode> {
    let permit = context.admit_one::<op::Describe>(Resource::Cluster).await?;
    match context.broker.controller.submit(ControllerRequest::DescribeQuorum(DescribeQuorum { permit })).await {
        Ok(ControllerResponse::DescribeQuorum(quorum)) => Ok(quorum),
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(error) => Err(error.code()),
    }
}

fn answer(
    context: &RequestContext<'_>,
    request: &DescribeQuorumRequest,
    quorum: &DescribedQuorum,
) -> DescribeQuorumResponse {
    let mut is_known = false;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            if &*topic.topic_name == TopicName::CLUSTER_METADATA && index == 0 {
                is_known = true;
                metadata_log(context, quorum)
            } else {
                let code = ErrorCode::UnknownTopicOrPartition;
                let error_message = Some(code.message().into());
                PartitionData { partition_index: index, error_code: code.code(), error_message, ..Default::default() }
            }
        });
        TopicData { topic_name: topic.topic_name.clone(), partitions: partitions.collect() }
    });
    let topics = topics.collect();
    DescribeQuorumResponse {
        topics,
        error_message: Some("".into()),
        nodes: if is_known { vec![node(quorum)] } else { Vec::new() },
        ..Default::default()
    }
}

fn metadata_log(context: &RequestContext<'_>, quorum: &DescribedQuorum) -> PartitionData {
    let now = context.broker.clock.wall().0;
    PartitionData {
        partition_index: 0,
        error_message: Some("".into()),
        leader_id: quorum.leader.0,
        leader_epoch: quorum.leader_epoch,
        high_watermark: quorum.high_watermark,
        current_voters: vec![ReplicaState {
            replica_id: quorum.leader.0,
            replica_directory_id: quorum.directory_id,
            log_end_offset: quorum.log_end_offset,
            // The leader has what it has.
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
        }],
        ..Default::default()
    }
}

fn node(quorum: &DescribedQuorum) -> Node {
    let listeners = quorum.end_points.iter().map(|end_point| Listener {
        name: (&*end_point.name).into(),
        host: (&*end_point.host).into(),
        port: end_point.port,
    });
    Node { node_id: quorum.leader.0, listeners: listeners.collect() }
}
