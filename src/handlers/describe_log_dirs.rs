//! DescribeLogDirs v1–5 (KIP-113; an error of the whole answer from v3, sizes of the disk KIP-827 from v4, cordoned
//! directories KIP-1066 from v5).
//!
//! Needs Describe on the cluster. Without it the answer is empty, and from v3 on CLUSTER_AUTHORIZATION_FAILED. A directory
//! that is offline is KAFKA_STORAGE_ERROR.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::log::storage::Space;
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use crate::protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::replica::manager::DescribedLogDir;
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeLogDirs, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeLogDirsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = match context.admit_one::<op::Describe>(Resource::Cluster).await {
        Ok(permit) => {
            let wanted = request.topics.as_deref().map(Wanted::new);
            let dirs = context.broker.replicas.describe_log_dirs(permit);
            DescribeLogDirsResponse {
                results: dirs.iter().map(|dir| describe(dir, wanted.as_ref())).collect(),
                ..Default::default()
            }
        }
        Err(code) => DescribeLogDirsResponse { error_code: code.code(), ..Default::default() },
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// The partitions that are asked for.
struct Wanted<'a>(BTreeSet<(&'a str, i32)>);

impl<'a> Wanted<'a> {
    fn new(topics: &'a [DescribableLogDirTopic]) -> Self {
        let of = |topic: &'a DescribableLogDirTopic| topic.partitions.iter().map(|index| (&*topic.topic, *index));
        Self(topics.iter().flat_map(of).collect())
    }
}

fn describe(dir: &DescribedLogDir, wanted: Option<&Wanted<'_>>) -> DescribeLogDirsResult {
    let log_dir = dir.log_dir.path().display().to_string().into();
    if !dir.log_dir.is_online() {
        let error_code = ErrorCode::KafkaStorageError.code();
        return DescribeLogDirsResult { error_code, log_dir, ..Default::default() };
    }
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (name, size) in &dir.partitions {
        if wanted.is_none_or(|wanted| wanted.0.contains(&(name.topic.as_str(), name.partition))) {
            topics.entry(name.topic.as_str()).or_default().push(DescribeLogDirsPartition {
                partition_index: name.partition,
                partition_size: i64::try_from(*size).unwrap_or(i64::MAX),
                // A leader has all that there is.
                offset_lag: 0,
                is_future_key: false,
            });
        }
    }
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let space = Space::of(dir.log_dir.path()).ok();
    DescribeLogDirsResult {
        log_dir,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name: name.into(), partitions })
            .collect(),
        total_bytes: space.map_or(-1, |space| bytes(space.total)),
        usable_bytes: space.map_or(-1, |space| bytes(space.usable)),
        ..Default::default()
    }
}
