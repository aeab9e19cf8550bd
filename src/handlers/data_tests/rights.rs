use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join;

use super::bench::{House, fetch, fetched, first, produce, produced, topic};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourcePattern;
use crate::model::uuid::Uuid;
use crate::protocol::messages::fetch_request::{FetchRequest, ReplicaState};
use crate::protocol::messages::fetch_response::FetchResponse;
use crate::protocol::messages::init_producer_id_request::InitProducerIdRequest;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::protocol::messages::produce_response::ProduceResponse;
use crate::replica::bench::batch;
use crate::replica::lane::INLINE_BYTES;

const DENIED: i16 = ErrorCode::TopicAuthorizationFailed as i16;
const UNKNOWN: i16 = ErrorCode::UnknownTopicOrPartition as i16;

fn init() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() }
}

#[tokio::test]
async fn the_right_comes_before_existence() {
    let house = House::with_topic("t");
    house.allow(1, "bob", AclOperation::Write, topic("mine"));
    house.allow(2, "bob", AclOperation::Read, topic("mine"));
    let bob = house.connect("bob");
    let parts = [("t", 0, batch(&["x"])), ("nope", 0, batch(&["x"])), ("mine", 0, batch(&["x"]))];
    let response = house.ask(&bob, 12, &produce(-1, &parts)).await;
    assert_eq!(produced(&response), [("t", 0, DENIED, -1), ("nope", 0, DENIED, -1), ("mine", 0, UNKNOWN, -1)]);
    let response = house.ask(&bob, 12, &fetch(&[("t", 0, 0), ("nope", 0, 0), ("mine", 0, 0)])).await;
    let expected = [("t", 0, DENIED, -1, 0), ("nope", 0, DENIED, -1, 0), ("mine", 0, UNKNOWN, -1, 0)];
    assert_eq!(fetched(&response), expected);
    let mut by_id = fetch(&[("", 0, 0)]);
    by_id.topics[0].topic_id = Uuid::from_u128(1);
    assert_eq!(first(&house.ask(&bob, 13, &by_id).await).error_code, DENIED);
    let partition = house.bench.replicas.partitions().remove(0);
    assert_eq!(partition.view().unwrap().ends().log_end.offset, 0, "nothing was written");
}

#[tokio::test]
async fn describe_is_enough_for_offsets_and_nothing_less() {
    let house = House::with_topic("t");
    let list = || {
        let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions }];
        ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
    };
    let epochs = || {
        let partitions = vec![OffsetForLeaderPartition { current_leader_epoch: -1, ..Default::default() }];
        let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions }];
        OffsetForLeaderEpochRequest { replica_id: -1, topics }
    };
    let bob = house.connect("bob");
    assert_eq!(house.ask(&bob, 8, &list()).await.topics[0].partitions[0].error_code, DENIED);
    assert_eq!(house.ask(&bob, 4, &epochs()).await.topics[0].partitions[0].error_code, DENIED);
    house.allow(1, "bob", AclOperation::Describe, topic("t"));
    assert_eq!(house.ask(&bob, 8, &list()).await.topics[0].partitions[0].error_code, 0);
    assert_eq!(house.ask(&bob, 4, &epochs()).await.topics[0].partitions[0].error_code, 0);
    assert_eq!(first(&house.ask(&bob, 12, &fetch(&[("t", 0, 0)])).await).error_code, DENIED);
    // A broker may ask about epochs everywhere.
    house.allow(2, "broker", AclOperation::ClusterAction, ResourcePattern::cluster());
    let broker = house.connect("broker");
    assert_eq!(house.ask(&broker, 4, &epochs()).await.topics[0].partitions[0].error_code, 0);
    assert_eq!(house.ask(&broker, 8, &list()).await.topics[0].partitions[0].error_code, DENIED);
}

#[tokio::test]
async fn nobody_fetches_in_a_brokers_name_without_its_right() {
    let house = House::with_topic("t");
    house.allow(1, "bob", AclOperation::Read, topic("t"));
    let bob = house.connect("bob");
    let old = FetchRequest { replica_id: 1, ..fetch(&[("t", 0, 0)]) };
    let replica_state = ReplicaState { replica_id: 2, replica_epoch: 5 };
    let mut new = FetchRequest { replica_state, ..fetch(&[("", 0, 0)]) };
    new.topics[0].topic_id = Uuid::from_u128(1);
    assert_eq!(first(&house.ask(&bob, 11, &old).await).error_code, DENIED);
    assert_eq!(first(&house.ask(&bob, 15, &new).await).error_code, DENIED);
    // With the right it is no replica's name all the same.
    house.allow(2, "broker", AclOperation::ClusterAction, ResourcePattern::cluster());
    let broker = house.connect("broker");
    let not_a_replica = ErrorCode::NotLeaderOrFollower.code();
    assert_eq!(first(&house.ask(&broker, 11, &old).await).error_code, not_a_replica);
    assert_eq!(first(&house.ask(&broker, 15, &new).await).error_code, not_a_replica);
    assert_eq!(first(&house.ask(&broker, 12, &fetch(&[("t", 0, 0)])).await).error_code, DENIED, "nor a consumer");
}

#[tokio::test]
async fn producer_ids_need_one_right_of_two() {
    let house = House::with_topic("t");
    let refused = ErrorCode::ClusterAuthorizationFailed.code();
    assert_eq!(house.ask(&house.connect("bob"), 4, &init()).await.error_code, refused);
    house.allow(1, "bob", AclOperation::Write, topic("anything"));
    assert_eq!(house.ask(&house.connect("bob"), 4, &init()).await.error_code, 0);
    house.allow(2, "carol", AclOperation::IdempotentWrite, ResourcePattern::cluster());
    assert_eq!(house.ask(&house.connect("carol"), 4, &init()).await.error_code, 0);
}

#[tokio::test]
async fn a_right_taken_away_ends_a_long_poll() {
    for session_epoch in [-1, 0] {
        let house = House::with_topic("t");
        house.allow(1, "bob", AclOperation::Read, topic("t"));
        let bob = house.connect("bob");
        let poll = FetchRequest { max_wait_ms: 60_000, session_epoch, ..fetch(&[("t", 0, 0)]) };
        let mut asked = house.send(&bob, 12, &poll).await;
        assert!(asked.now().is_none());
        let revocation = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            house.revoke(1);
        };
        let (response, ()) = join(asked.response::<FetchResponse>(), revocation).await;
        assert_eq!(fetched(&response), [("t", 0, DENIED, -1, 0)]);
    }
}

#[tokio::test]
async fn a_session_is_judged_anew_and_is_nobody_elses() {
    let house = House::with_topic("t");
    house.allow(1, "bob", AclOperation::Read, topic("t"));
    house.allow(2, "eve", AclOperation::Read, topic("t"));
    let bob = house.connect("bob");
    let full = house.ask(&bob, 12, &FetchRequest { session_epoch: 0, ..fetch(&[("t", 0, 0)]) }).await;
    let next = |session_epoch| FetchRequest { session_id: full.session_id, session_epoch, ..fetch(&[]) };
    let stolen = house.ask(&house.connect("eve"), 12, &next(1)).await;
    assert_eq!((stolen.error_code, stolen.responses.len()), (ErrorCode::FetchSessionIdNotFound.code(), 0));
    house.revoke(1);
    assert_eq!(fetched(&house.ask(&bob, 12, &next(1)).await), [("t", 0, DENIED, -1, 0)]);
    house.allow(1, "bob", AclOperation::Read, topic("t"));
    assert_eq!(fetched(&house.ask(&bob, 12, &next(2)).await), [("t", 0, 0, 0, 0)]);
}

#[tokio::test]
async fn what_is_enqueued_is_answered_whatever_becomes_of_the_right() {
    let house = House::with_topic("t");
    house.allow(1, "bob", AclOperation::Write, topic("t"));
    let bob = house.connect("bob");
    let large = batch(&[vec![b'x'; INLINE_BYTES]]);
    let asked = house.send(&bob, 12, &produce(-1, &[("t", 0, large)])).await;
    house.revoke(1);
    house.bench.work();
    let response: ProduceResponse = asked.response().await;
    assert_eq!(produced(&response), [("t", 0, 0, 0)]);
    let late = house.ask(&bob, 12, &produce(-1, &[("t", 0, batch(&["late"]))])).await;
    assert_eq!(produced(&late), [("t", 0, DENIED, -1)]);
}

#[tokio::test]
async fn a_right_taken_away_while_the_lane_is_full_is_gone() {
    let house = House::with_topic("t");
    house.allow(1, "bob", AclOperation::Write, topic("t"));
    let bob = house.connect("bob");
    let large = batch(&[vec![b'x'; INLINE_BYTES]]);
    let mut sent = Vec::new();
    for _ in 0..4096 {
        sent.push(house.send(&bob, 12, &produce(1, &[("t", 0, large.clone())])).await);
    }
    let request = produce(1, &[("t", 0, large)]);
    let mut blocked = Box::pin(house.send(&bob, 12, &request));
    assert!((&mut blocked).now_or_never().is_none());
    house.revoke(1);
    house.bench.work();
    let response: ProduceResponse = blocked.await.response().await;
    assert_eq!(produced(&response), [("t", 0, DENIED, -1)]);
    let partition = house.bench.replicas.partitions().into_iter().find(|p| p.id().partition == 0).unwrap();
    assert_eq!(partition.view().unwrap().ends().log_end.offset, 4096);
}
