//! The answer to a fetch: a message with gaps, and the file ranges that fill them.

use super::Terms;
use super::evaluate::{Finding, Found, Outcome};
use crate::handlers::{RequestContext, Responder, Response};
use crate::log::segment::FileRange;
use crate::model::error_code::ErrorCode;
use crate::protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use crate::protocol::wire::Records;
use crate::replica::fetch_session::entries::TopicKey;
use crate::replica::partition::{IsolationLevel, PartitionRead};

use bytes::Bytes;

/// The answer names the leader from this version on.
const CURRENT_LEADER_FROM: i16 = 16;

pub(super) fn respond(
    context: &RequestContext<'_>,
    responder: Responder,
    session_id: i32,
    mut found: Found,
    terms: &Terms,
) -> Response {
    let isolation = terms.isolation;
    let mut response = FetchResponse { session_id, ..Default::default() };
    let mut files = Vec::new();
    for finding in in_order(&mut found) {
        let partition = partition_data(context, responder, &finding, isolation, &mut response, &mut files);
        let (topic, topic_id) = match &finding.topic {
            TopicKey::Name(name) => (name.as_str(), Default::default()),
            TopicKey::Id(id) => ("", id.0),
        };
        match response.responses.last_mut() {
            Some(last) if &*last.topic == topic && last.topic_id == topic_id => last.partitions.push(partition),
            _ => response.responses.push(FetchableTopicResponse {
                topic: topic.into(),
                topic_id,
                partitions: vec![partition],
            }),
        }
    }
    if terms.replica.is_some() {
        // A replica knows where brokers are.
        response.node_endpoints.clear();
    }
    responder.respond_with_files(&response, files)
}

/// What was read first, in the order of the last look, then what could not be looked at.
fn in_order(found: &mut Found) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        std::mem::take(&mut found.order).into_iter().filter_map(|slot| found.by_slot.remove(&slot)).collect();
    findings.extend(std::mem::take(&mut found.by_slot).into_values());
    findings.sort_by_key(|finding| matches!(finding.outcome, Outcome::Refused(_)));
    findings
}

fn partition_data(
    context: &RequestContext<'_>,
    responder: Responder,
    finding: &Finding,
    isolation: IsolationLevel,
    response: &mut FetchResponse,
    files: &mut Vec<FileRange>,
) -> PartitionData {
    let mut data = match &finding.outcome {
        Outcome::Read(read) => read_data(finding.partition, read, isolation, files),
        Outcome::Failed(code) => failed_data(finding.partition, *code, None),
        // Kafka's two ways to make an error differ here.
        Outcome::Refused(code) => failed_data(finding.partition, *code, Some(Vec::new())),
    };
    let is_misdirected = [ErrorCode::NotLeaderOrFollower.code(), ErrorCode::FencedLeaderEpoch.code()];
    if responder.version() >= CURRENT_LEADER_FROM && is_misdirected.contains(&data.error_code) {
        let leader = context.current_leader(finding.topic_id, finding.partition);
        data.current_leader = LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch };
        if let Some(broker) = leader.broker
            && !response.node_endpoints.iter().any(|known| known.node_id == broker.id)
        {
            response.node_endpoints.push(NodeEndpoint {
                node_id: broker.id,
                host: (&*broker.host).into(),
                port: broker.port,
                rack: broker.rack.map(|rack| (&*rack).into()),
            });
        }
    }
    data
}

fn read_data(
    partition_index: i32,
    read: &PartitionRead,
    isolation: IsolationLevel,
    files: &mut Vec<FileRange>,
) -> PartitionData {
    let records = match &read.range {
        Some(range) if range.len > 0 => {
            files.push(range.clone());
            Records::Gap(range.len)
        }
        _ => Records::Bytes(Bytes::new()),
    };
    let aborted = read
        .aborted
        .iter()
        .map(|aborted| AbortedTransaction { producer_id: aborted.producer_id, first_offset: aborted.first_offset });
    PartitionData {
        partition_index,
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        diverging_epoch: read
            .diverging
            .map_or_else(EpochEndOffset::default, |(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
        aborted_transactions: (isolation == IsolationLevel::ReadCommitted).then(|| aborted.collect()),
        records,
        ..Default::default()
    }
}

fn failed_data(
    partition_index: i32,
    code: ErrorCode,
    aborted_transactions: Option<Vec<AbortedTransaction>>,
) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.code(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        aborted_transactions,
        records: Records::Bytes(Bytes::new()),
        ..Default::default()
    }
}
