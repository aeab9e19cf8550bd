use super::bench::{House, produce};
use crate::handlers::LaterReply;
use crate::model::error_code::ErrorCode;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::protocol::record_batch::BatchBuilder;
use crate::replica::bench::batch;
use crate::replica::lane::INLINE_BYTES;

fn list(topic: &str, asked: &[(i32, i64)]) -> ListOffsetsRequest {
    let partitions = asked.iter().map(|(partition_index, timestamp)| ListOffsetsPartition {
        partition_index: *partition_index,
        timestamp: *timestamp,
        ..Default::default()
    });
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: partitions.collect() }];
    ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
}

/// Code, timestamp, offset, leader epoch of each partition.
async fn answers(house: &House, version: i16, request: &ListOffsetsRequest) -> Vec<(i16, i64, i64, i32)> {
    let response = house.ask(&house.connect("alice"), version, request).await;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| (p.error_code, p.timestamp, p.offset, p.leader_epoch)).collect()
}

/// Timestamps 10, 30, 20 at offsets 0, 1, 2.
async fn filled() -> House {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    for timestamp in [10, 30, 20] {
        let mut builder = BatchBuilder::new(0);
        builder.append(timestamp, None, Some(b"v"), &[]).unwrap();
        house.ask(&alice, 9, &produce(-1, &[("t", 0, builder.build())])).await;
    }
    house
}

#[tokio::test]
async fn special_timestamps_by_version() {
    let house = filled().await;
    let unsupported = (ErrorCode::UnsupportedVersion.code(), -1, -1, -1);
    let nothing = (0, -1, -1, -1);
    let expected = [
        (-1, 4, (0, -1, 3, 0)),
        (-2, 4, (0, -1, 0, 0)),
        (-3, 6, unsupported),
        (-3, 7, (0, 30, 1, 0)),
        (-4, 7, unsupported),
        (-4, 8, (0, -1, 0, 0)),
        (-5, 8, unsupported),
        (-5, 9, nothing),
        (-6, 10, unsupported),
        (-6, 11, nothing),
        (-7, 11, unsupported),
        (0, 11, (0, 10, 0, 0)),
        (11, 11, (0, 30, 1, 0)),
        (31, 11, nothing),
    ];
    for (timestamp, version, answer) in expected {
        assert_eq!(answers(&house, version, &list("t", &[(0, timestamp)])).await, [answer], "{timestamp} v{version}");
    }
    assert_eq!(answers(&house, 11, &list("t", &[(1, -1), (1, -2)])).await.len(), 1, "named twice, answered once");
}

#[tokio::test]
async fn errors_of_list_offsets() {
    let house = filled().await;
    let failed = |code: ErrorCode| (code.code(), -1, -1, -1);
    assert_eq!(answers(&house, 8, &list("t", &[(9, -1)])).await, [failed(ErrorCode::UnknownTopicOrPartition)]);
    assert_eq!(answers(&house, 8, &list("nope", &[(0, -1)])).await, [failed(ErrorCode::UnknownTopicOrPartition)]);
    let twice = answers(&house, 8, &list("t", &[(0, -1), (1, -1), (0, -2)])).await;
    assert_eq!(twice, [failed(ErrorCode::InvalidRequest), (0, -1, 0, 0)]);
    for (epoch, code) in [(5, ErrorCode::UnknownLeaderEpoch), (-3, ErrorCode::FencedLeaderEpoch)] {
        let mut request = list("t", &[(0, -1)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(answers(&house, 8, &request).await, [failed(code)]);
    }
    let odd = ListOffsetsRequest { isolation_level: 5, ..list("t", &[(0, -1)]) };
    assert_eq!(answers(&house, 8, &odd).await, [failed(ErrorCode::UnknownServerError)]);
}

#[tokio::test]
async fn the_end_includes_what_this_connection_wrote() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let large = batch(&[vec![b'x'; INLINE_BYTES]]);
    house.send(&alice, 9, &produce(0, &[("t", 0, large)])).await;
    let mut asked = house.send(&alice, 8, &list("t", &[(0, -1)])).await;
    assert!(asked.now().is_none());
    house.bench.work();
    let LaterReply::Respond(response) = asked.done().await else { panic!("no answer") };
    let response: crate::protocol::messages::list_offsets_response::ListOffsetsResponse =
        super::bench::decode(crate::protocol::api::ApiKey::ListOffsets, 8, response);
    assert_eq!(response.topics[0].partitions[0].offset, 1);
}

#[tokio::test]
async fn epochs_end_where_the_next_begins() {
    let house = filled().await;
    let ask = |topic: &str, partition, current_leader_epoch, leader_epoch| {
        let asked = OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch };
        let topics = vec![OffsetForLeaderTopic { topic: topic.into(), partitions: vec![asked] }];
        OffsetForLeaderEpochRequest { replica_id: -1, topics }
    };
    let cases = [
        (ask("t", 0, -1, 0), ErrorCode::None, 0, 3),
        (ask("t", 0, 0, 0), ErrorCode::None, 0, 3),
        (ask("t", 0, -1, 5), ErrorCode::None, -1, -1),
        (ask("t", 0, -1, -1), ErrorCode::None, -1, -1),
        (ask("t", 0, 5, 0), ErrorCode::UnknownLeaderEpoch, -1, -1),
        (ask("t", 0, -3, 0), ErrorCode::FencedLeaderEpoch, -1, -1),
        (ask("t", 9, -1, 0), ErrorCode::UnknownTopicOrPartition, -1, -1),
        (ask("nope", 0, -1, 0), ErrorCode::UnknownTopicOrPartition, -1, -1),
    ];
    for (request, code, epoch, end) in cases {
        for version in 2..=4 {
            let response = house.ask(&house.connect("alice"), version, &request).await;
            let answer = &response.topics[0].partitions[0];
            assert_eq!((answer.error_code, answer.leader_epoch, answer.end_offset), (code.code(), epoch, end));
        }
    }
}
