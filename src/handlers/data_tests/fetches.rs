use std::time::Duration;

use futures_util::future::join;

use super::bench::{House, fetch, fetched, first, produce};
use crate::handlers::LaterReply;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::model::uuid::Uuid;
use crate::protocol::messages::fetch_request::{FetchRequest, ForgottenTopic};
use crate::protocol::messages::fetch_response::FetchResponse;
use crate::replica::bench::batch;
use crate::replica::lane::INLINE_BYTES;

const LONG: i32 = 60_000;

fn code(code: ErrorCode) -> i16 {
    code.code()
}

/// By names, in a session.
fn session(id: i32, epoch: i32, parts: &[(&str, i32, i64)]) -> FetchRequest {
    FetchRequest { session_id: id, session_epoch: epoch, ..fetch(parts) }
}

async fn fill(house: &House, values: &[&str]) {
    let alice = house.connect("alice");
    for value in values {
        house.ask(&alice, 9, &produce(-1, &[("t", 0, batch(&[value]))])).await;
    }
}

#[tokio::test]
async fn what_there_is_and_how_it_is_told() {
    let house = House::with_topic("t");
    fill(&house, &["a", "b"]).await;
    let alice = house.connect("alice");
    let response = house.ask(&alice, 12, &fetch(&[("t", 0, 0), ("t", 1, 0)])).await;
    let one = batch(&["a"]).len();
    assert_eq!(fetched(&response), [("t", 0, 0, 2, 2 * one), ("t", 1, 0, 0, 0)]);
    let data = first(&response);
    assert_eq!((data.last_stable_offset, data.log_start_offset, data.preferred_read_replica), (2, 0, -1));
    assert_eq!(data.aborted_transactions, None);
    let committed = FetchRequest { isolation_level: 1, ..fetch(&[("t", 0, 0)]) };
    assert_eq!(first(&house.ask(&alice, 12, &committed).await).aborted_transactions, Some(Vec::new()));
}

#[tokio::test]
async fn errors_and_their_two_shapes() {
    let house = House::with_topic("t");
    fill(&house, &["a"]).await;
    let alice = house.connect("alice");
    let part = |change: fn(&mut crate::protocol::messages::fetch_request::FetchPartition)| {
        let mut request = fetch(&[("t", 0, 0)]);
        change(&mut request.topics[0].partitions[0]);
        request
    };
    let cases = [
        (fetch(&[("t", 0, 99)]), ErrorCode::OffsetOutOfRange, None),
        (fetch(&[("t", 0, -5)]), ErrorCode::OffsetOutOfRange, None),
        (part(|p| p.current_leader_epoch = 5), ErrorCode::UnknownLeaderEpoch, None),
        (part(|p| p.current_leader_epoch = -2), ErrorCode::FencedLeaderEpoch, None),
        (part(|p| p.last_fetched_epoch = 5), ErrorCode::OffsetOutOfRange, None),
        (fetch(&[("t", 9, 0)]), ErrorCode::UnknownTopicOrPartition, Some(Vec::new())),
        (fetch(&[("nope", 0, 0)]), ErrorCode::UnknownTopicOrPartition, Some(Vec::new())),
        (fetch(&[(TopicName::CLUSTER_METADATA, 0, 0)]), ErrorCode::UnknownTopicOrPartition, Some(Vec::new())),
    ];
    for (request, expected, aborted) in cases {
        let response = house.ask(&alice, 12, &request).await;
        let data = first(&response);
        assert_eq!(data.error_code, expected.code());
        assert_eq!((data.high_watermark, data.last_stable_offset, data.log_start_offset), (-1, -1, -1));
        assert_eq!(data.aborted_transactions, aborted, "{expected:?}");
    }
    for id in [0, 1 << 100, 99] {
        let mut request = fetch(&[("", 0, 0)]);
        request.topics[0].topic_id = Uuid::from_u128(id);
        let response = house.ask(&alice, 13, &request).await;
        assert_eq!(first(&response).error_code, code(ErrorCode::UnknownTopicId));
    }
}

#[tokio::test]
async fn a_client_past_its_epochs_end_is_told_where_it_parted() {
    let house = House::with_topic("t");
    fill(&house, &["a", "b"]).await;
    let alice = house.connect("alice");
    let mut request = fetch(&[("t", 0, 40)]);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = house.ask(&alice, 12, &request).await;
    let data = first(&response);
    assert_eq!((data.error_code, data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 0, 2));
    assert_eq!((data.high_watermark, data.records.len()), (2, 0));
}

#[tokio::test]
async fn limits_cut_but_the_first_batch_is_whole() {
    let house = House::with_topic("t");
    fill(&house, &["a", "b", "c"]).await;
    let alice = house.connect("alice");
    house.ask(&alice, 9, &produce(-1, &[("t", 1, batch(&["z"]))])).await;
    let one = batch(&["a"]).len();
    let parts = [("t", 0, 0), ("t", 1, 0)];
    for max_bytes in [0, 1] {
        let response = house.ask(&alice, 12, &FetchRequest { max_bytes, ..fetch(&parts) }).await;
        assert_eq!(fetched(&response), [("t", 0, 0, 3, one), ("t", 1, 0, 1, 0)]);
    }
    let mut request = fetch(&parts);
    request.topics[0].partitions[0].partition_max_bytes = i32::try_from(one).unwrap() + 5;
    let response = house.ask(&alice, 12, &request).await;
    assert_eq!(
        fetched(&response),
        [("t", 0, 0, 3, one + 5), ("t", 1, 0, 1, one)],
        "the last batch is cut, as in Kafka"
    );
}

#[tokio::test]
async fn an_idle_poll_ends_with_its_time() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let request = FetchRequest { max_wait_ms: 20, ..fetch(&[("t", 0, 0), ("nope", 0, 0)]) };
    let mut asked = house.send(&alice, 12, &request).await;
    assert!(asked.now().is_none(), "what can't be looked at does not end the wait of the others");
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    let response: FetchResponse = asked.response().await;
    assert_eq!(fetched(&response), [("t", 0, 0, 0, 0), ("nope", 0, unknown, -1, 0)]);
}

#[tokio::test]
async fn a_poll_ends_with_enough_bytes() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let one = batch(&["a"]).len();
    let min_bytes = i32::try_from(2 * one).unwrap();
    for session_epoch in [-1, 0] {
        let offset = house.bench.replicas.partitions().iter().map(|p| p.view().unwrap().ends().log_end.offset).max();
        let offset = offset.unwrap();
        let request = FetchRequest { max_wait_ms: LONG, min_bytes, session_epoch, ..fetch(&[("t", 0, offset)]) };
        let mut asked = house.send(&alice, 12, &request).await;
        assert!(asked.now().is_none());
        fill(&house, &["a"]).await;
        assert!(asked.now().is_none(), "too little");
        let (response, ()) = join(asked.response::<FetchResponse>(), fill(&house, &["b"])).await;
        assert_eq!(first(&response).records.len(), 2 * one);
    }
}

#[tokio::test]
async fn a_client_reads_what_it_wrote() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let large = batch(&[vec![b'x'; INLINE_BYTES]]);
    // Its lane has not written it yet, and nobody waits for an answer.
    house.send(&alice, 12, &produce(0, &[("t", 0, large.clone())])).await;
    let mut asked = house.send(&alice, 12, &fetch(&[("t", 0, 0)])).await;
    assert!(asked.now().is_none(), "it waits for the write, though it waits for no data");
    let mut other = house.send(&house.connect("alice"), 12, &fetch(&[("t", 0, 0)])).await;
    assert!(matches!(other.now(), Some(LaterReply::Respond(_))), "another connection does not");
    house.bench.work();
    let response: FetchResponse = asked.response().await;
    assert_eq!(first(&response).records.len(), large.len());
}

#[tokio::test]
async fn a_session_is_answered_what_changed() {
    let house = House::with_topic("t");
    house.create("u", 2);
    fill(&house, &["a"]).await;
    let alice = house.connect("alice");
    let full = house.ask(&alice, 12, &session(0, 0, &[("t", 0, 1), ("t", 1, 0), ("u", 0, 0)])).await;
    let id = full.session_id;
    assert!(id > 0);
    assert_eq!(fetched(&full).len(), 3);
    let next = |epoch, parts: &[(&str, i32, i64)]| session(id, epoch, parts);
    assert_eq!(fetched(&house.ask(&alice, 12, &next(1, &[])).await), []);

    fill(&house, &["b"]).await;
    let one = batch(&["a"]).len();
    let response = house.ask(&alice, 12, &next(2, &[])).await;
    assert_eq!((response.session_id, fetched(&response)), (id, vec![("t", 0, 0, 2, one)]));
    let response = house.ask(&alice, 12, &next(3, &[])).await;
    assert_eq!(fetched(&response), [("t", 0, 0, 2, one)], "until it names the next offset");
    assert_eq!(fetched(&house.ask(&alice, 12, &next(4, &[("t", 0, 2)])).await), []);

    let missing = code(ErrorCode::UnknownTopicOrPartition);
    let response = house.ask(&alice, 12, &next(5, &[("nope", 0, 0)])).await;
    assert_eq!(fetched(&response), [("nope", 0, missing, -1, 0)]);
    let response = house.ask(&alice, 12, &next(6, &[])).await;
    assert_eq!(fetched(&response), [("nope", 0, missing, -1, 0)], "an error is repeated");
    let forgotten_topics_data =
        vec![ForgottenTopic { topic: "nope".into(), partitions: vec![0], ..Default::default() }];
    let response = house.ask(&alice, 12, &FetchRequest { forgotten_topics_data, ..next(7, &[]) }).await;
    assert_eq!(fetched(&response), []);

    let refused = |response: FetchResponse| (response.error_code, response.session_id, response.responses.len());
    let wrong = refused(house.ask(&alice, 12, &next(3, &[])).await);
    assert_eq!(wrong, (code(ErrorCode::InvalidFetchSessionEpoch), 0, 0));
    let other_names = refused(house.ask(&alice, 13, &next(8, &[])).await);
    assert_eq!(other_names, (code(ErrorCode::FetchSessionTopicIdError), 0, 0));
    let unknown = refused(house.ask(&alice, 12, &session(id ^ 1, 1, &[])).await);
    assert_eq!(unknown, (code(ErrorCode::FetchSessionIdNotFound), 0, 0));
    let closed = house.ask(&alice, 12, &session(id, -1, &[("t", 0, 0)])).await;
    assert_eq!(closed.session_id, 0);
    assert!(house.bench.replicas.sessions().is_empty());
}

#[tokio::test]
async fn partitions_of_a_session_take_turns() {
    let house = House::with_topic("t");
    fill(&house, &["a", "b"]).await;
    let alice = house.connect("alice");
    house.ask(&alice, 9, &produce(-1, &[("t", 1, batch(&["z"]))])).await;
    let small = |request| FetchRequest { max_bytes: 1, ..request };
    let full = house.ask(&alice, 12, &small(session(0, 0, &[("t", 0, 0), ("t", 1, 0)]))).await;
    let mut turns = Vec::new();
    for epoch in 1..5 {
        let response = house.ask(&alice, 12, &small(session(full.session_id, epoch, &[]))).await;
        turns.extend(fetched(&response).into_iter().map(|(_, index, ..)| index));
    }
    assert_eq!(turns, [1, 0, 1, 0]);
}

#[tokio::test]
async fn a_session_survives_its_connection_but_not_its_topic() {
    let house = House::with_topic("t");
    fill(&house, &["a"]).await;
    let full = house.ask(&house.connect("alice"), 12, &session(0, 0, &[("t", 0, 1)])).await;
    let poll = FetchRequest { max_wait_ms: LONG, ..session(full.session_id, 1, &[]) };
    let asked = house.send(&house.connect("alice"), 12, &poll).await;
    let deletion = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        house.delete(1);
    };
    let (response, ()) = join(asked.response::<FetchResponse>(), deletion).await;
    let missing = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(fetched(&response), [("t", 0, missing, -1, 0)]);
    // Another topic of the same name is not the old one: it is said to be missing once.
    house.create("t", 2);
    let alice = house.connect("alice");
    let response = house.ask(&alice, 12, &session(full.session_id, 2, &[])).await;
    assert_eq!(fetched(&response), [("t", 0, missing, -1, 0)]);
    let response = house.ask(&alice, 12, &session(full.session_id, 3, &[("t", 0, 0)])).await;
    assert_eq!(fetched(&response), [("t", 0, 0, 0, 0)]);
}

#[tokio::test]
async fn an_overtaken_request_of_a_session_is_refused() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let full = house.ask(&alice, 12, &session(0, 0, &[("t", 0, 0)])).await;
    let poll = FetchRequest { max_wait_ms: LONG, ..session(full.session_id, 1, &[]) };
    let mut first = house.send(&alice, 12, &poll).await;
    assert!(first.now().is_none());
    house.ask(&alice, 12, &session(full.session_id, 2, &[])).await;
    let (response, ()) = join(first.response::<FetchResponse>(), fill(&house, &["a"])).await;
    assert_eq!(response.error_code, code(ErrorCode::InvalidFetchSessionEpoch));
}
