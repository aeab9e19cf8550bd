//! One Kafka API, one file, named as the API; one table of them all.
//!
//! The table drives what ApiVersions announces, what is dispatched and how, and the completeness tests. A handler gets a
//! decoded request and the authorized views of [`context`]; it answers with a [`Reply`]. It never sees a socket or a file,
//! and it sees the metadata image only through the context, so that no name reaches a client unjudged.
//!
//! A request has three stages. *admit* (authorize; may wait for argon2 or a policy server) and *enqueue* (synchronous; the
//! order it runs in is the order of effects) happen inside the handler's own future, strictly in connection order.
//! *complete* is the future inside [`Reply::Later`]: it may overlap with later requests.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::protocol::api::ApiKey;
use crate::protocol::wire::DecodeError;

mod alter_client_quotas;
mod alter_configs;
mod alter_user_scram_credentials;
mod api_versions;
mod asker;
mod config_changes;
pub mod connection;
pub mod context;
mod create_acls;
mod create_partitions;
mod create_topics;
#[cfg(test)]
mod data_tests;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
pub mod reply;
pub mod sasl_authenticate;
pub mod sasl_handshake;
mod sync_group;

pub use connection::{AuthState, ClientSoftware, Connection, Identity, Listener};
pub use context::{Broker, RequestContext, Settings};
pub use reply::{CloseReason, LaterReply, Reply, Responder, Response};

/// How a request of an API stands to those before and behind it on its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Completing overlaps with later requests.
    Overlaps,
    /// Starts when every earlier request is answered; nothing behind it starts before its answer is queued.
    Barrier,
}

/// The handler: decodes, admits and enqueues.
///
/// # Errors
/// The body is not a message of this API and version; the connection is closed, as Kafka does.
pub type HandlerFn = for<'a> fn(&'a RequestContext<'a>, Bytes) -> LocalBoxFuture<'a, Result<Reply, DecodeError>>;

/// One line of the table. Versions are those that Apache Kafka 4.3.1 serves and announces ([`ApiKey`]).
#[derive(Debug)]
pub struct Spec {
    pub key: ApiKey,
    /// Served on controller listeners too; every API is served on broker listeners.
    pub on_controller_listeners: bool,
    /// May be asked on a SASL listener before its client has logged in.
    pub before_authentication: bool,
    pub order: Order,
    pub handle: HandlerFn,
}

impl Spec {
    /// A line for an API that is served to authenticated clients of broker listeners.
    pub const fn new(key: ApiKey, order: Order, handle: HandlerFn) -> Self {
        Self { key, on_controller_listeners: false, before_authentication: false, order, handle }
    }
}

/// Every API that is served, in the order of the keys.
pub fn table() -> &'static [Spec] {
    TABLE
}

const TABLE: &[Spec] = &[
    produce::SPEC,
    fetch::SPEC,
    list_offsets::SPEC,
    metadata::SPEC,
    offset_commit::SPEC,
    offset_fetch::SPEC,
    find_coordinator::SPEC,
    join_group::SPEC,
    heartbeat::SPEC,
    leave_group::SPEC,
    sync_group::SPEC,
    describe_groups::SPEC,
    list_groups::SPEC,
    sasl_handshake::SPEC,
    api_versions::SPEC,
    create_topics::SPEC,
    delete_topics::SPEC,
    delete_records::SPEC,
    init_producer_id::SPEC,
    offset_for_leader_epoch::SPEC,
    describe_acls::SPEC,
    create_acls::SPEC,
    delete_acls::SPEC,
    describe_configs::SPEC,
    alter_configs::SPEC,
    describe_log_dirs::SPEC,
    sasl_authenticate::SPEC,
    create_partitions::SPEC,
    delete_groups::SPEC,
    elect_leaders::SPEC,
    incremental_alter_configs::SPEC,
    list_partition_reassignments::SPEC,
    offset_delete::SPEC,
    describe_client_quotas::SPEC,
    alter_client_quotas::SPEC,
    describe_user_scram_credentials::SPEC,
    alter_user_scram_credentials::SPEC,
    describe_quorum::SPEC,
    describe_cluster::SPEC,
    describe_producers::SPEC,
    list_config_resources::SPEC,
    describe_topic_partitions::SPEC,
];

/// The line of an API, if it is served on such a listener.
pub fn find(key: ApiKey, on_controller_listener: bool) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.key == key && (spec.on_controller_listeners || !on_controller_listener))
}

/// Judges one request and sets it off. Called strictly in connection order.
///
/// An API that is not in the table, a version outside its range and a body that can't be decoded close the connection
/// without an answer; only ApiVersions answers an unknown version (by itself).
pub async fn dispatch(context: &RequestContext<'_>, body: Bytes) -> Reply {
    let header = context.header;
    let Some(spec) = find(header.api_key, context.connection.listener.is_controller) else {
        return Reply::Close(CloseReason::UnknownApi { key: header.api_key });
    };
    if !spec.key.versions().contains(header.api_version) && spec.key != ApiKey::ApiVersions {
        return Reply::Close(CloseReason::UnsupportedVersion { key: header.api_key, version: header.api_version });
    }
    match (spec.handle)(context, body).await {
        Ok(reply) => reply,
        Err(error) => {
            Reply::Close(CloseReason::Undecodable { key: header.api_key, version: header.api_version, error })
        }
    }
}
