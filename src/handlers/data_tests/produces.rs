use futures_util::FutureExt as _;

use super::bench::{House, PRODUCER_IDS_END, only, produce, produced};
use crate::handlers::{CloseReason, LaterReply};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::model::uuid::Uuid;
use crate::protocol::messages::init_producer_id_request::InitProducerIdRequest;
use crate::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::protocol::messages::produce_response::ProduceResponse;
use crate::protocol::record_batch::BatchBuilder;
use crate::protocol::wire::Records;
use crate::replica::bench::{batch, producer_batch};
use crate::replica::lane::INLINE_BYTES;

fn code(code: ErrorCode) -> i16 {
    code.code()
}

#[tokio::test]
async fn each_partition_is_answered_for_itself() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let request = produce(-1, &[("nope", 0, batch(&["x"])), ("t", 7, batch(&["x"])), ("t", 0, batch(&["a", "b"]))]);
    let response = house.ask(&alice, 12, &request).await;
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(produced(&response), [("nope", 0, unknown, -1), ("t", 7, unknown, -1), ("t", 0, 0, 0)]);
    let ok = &response.responses[1].partition_responses[1];
    assert_eq!((ok.log_append_time_ms, ok.log_start_offset), (-1, 0));
    let failed = &response.responses[0].partition_responses[0];
    assert_eq!((failed.log_append_time_ms, failed.log_start_offset, &failed.error_message), (-1, -1, &None));
}

/// What is written are the frame's own bytes, but for the header of the batch, which gets its offset.
#[tokio::test]
async fn no_record_is_copied_between_frame_and_disk() {
    use crate::protocol::api::ApiKey;
    use crate::protocol::wire::Message as _;
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    for values in [&["small"; 1][..], &["v"; 20_000]] {
        let records = batch(values);
        let header_len = crate::protocol::record_batch::HEADER_LEN;
        let length = records.len() - header_len;
        let frame = produce(1, &[("t", 0, records)]).to_bytes(12);
        let place = frame.as_ptr_range();
        let asked = house.send_bytes(&alice, ApiKey::Produce, 12, frame.clone()).await;
        house.bench.work();
        let response: ProduceResponse = asked.response().await;
        assert_eq!(only(&response).error_code, 0);
        let of_frame =
            |slice: &std::ops::Range<usize>| place.start.addr() <= slice.start && slice.end <= place.end.addr();
        let written = house.bench.disk.last_write();
        let from_frame: usize = written.iter().filter(|slice| of_frame(slice)).map(ExactSizeIterator::len).sum();
        let elsewhere: usize = written.iter().filter(|slice| !of_frame(slice)).map(ExactSizeIterator::len).sum();
        assert_eq!((from_frame, elsewhere), (length, header_len));
    }
}

#[tokio::test]
async fn by_id_and_by_an_id_nobody_knows() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let by_id = |id| {
        let partition_data = vec![PartitionProduceData { index: 0, records: Records::Bytes(batch(&["a"])) }];
        let topic = TopicProduceData { topic_id: Uuid::from_u128(id), partition_data, ..Default::default() };
        ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() }
    };
    assert_eq!(only(&house.ask(&alice, 13, &by_id(1)).await).error_code, 0);
    for id in [0, 99] {
        let response = house.ask(&alice, 13, &by_id(id)).await;
        assert_eq!(only(&response).error_code, code(ErrorCode::UnknownTopicId));
        assert_eq!(response.responses[0].topic_id, Uuid::from_u128(id));
    }
}

#[tokio::test]
async fn a_partition_named_twice_counts_as_named_last() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let request =
        produce(-1, &[("t", 1, batch(&["one"])), ("t", 1, batch(&["two", "three"])), ("t", 0, batch(&["z"]))]);
    let response = house.ask(&alice, 12, &request).await;
    assert_eq!(produced(&response), [("t", 1, 0, 0), ("t", 0, 0, 0)]);
    let partition = house.bench.replicas.partitions().into_iter().find(|p| p.id().partition == 1).unwrap();
    let values: Vec<_> = house.bench.values(&partition, 0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["two", "three"]);
}

#[tokio::test]
async fn other_acks_than_the_three_are_refused() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let response = house.ask(&alice, 12, &produce(5, &[("t", 0, batch(&["x"])), ("nope", 0, batch(&["x"]))])).await;
    let expected =
        [("t", 0, code(ErrorCode::InvalidRequiredAcks), -1), ("nope", 0, code(ErrorCode::UnknownTopicOrPartition), -1)];
    assert_eq!(produced(&response), expected);
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_an_error_closes() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let done = |request: ProduceRequest| {
        let (house, alice) = (&house, &alice);
        async move {
            let asked = house.send(alice, 12, &request).await;
            house.bench.work();
            asked.done().await
        }
    };
    let large = vec![b'x'; INLINE_BYTES];
    assert!(matches!(done(produce(0, &[("t", 0, batch(&["small"]))])).await, LaterReply::None));
    assert!(matches!(done(produce(0, &[("t", 0, batch(&[&large]))])).await, LaterReply::None));
    assert!(matches!(done(produce(0, &[])).await, LaterReply::None));
    let bad = [
        produce(0, &[("nope", 0, batch(&["x"]))]),
        produce(0, &[("t", 0, batch(&["x"])), ("t", 9, batch(&["x"]))]),
        produce(0, &[("t", 0, vec![1, 2, 3].into())]),
        // Found out in the lane only.
        produce(0, &[("t", 0, producer_batch(&[&large], 5, 0, 0))]),
        produce(0, &[("t", 0, producer_batch(&[&large], 5, 0, 9))]),
    ];
    let mut closed = 0;
    for request in bad {
        closed += usize::from(matches!(done(request).await, LaterReply::Close(CloseReason::ProduceWithoutAcks(_))));
    }
    assert_eq!(closed, 4, "all but the producer's first batch");
}

#[tokio::test]
async fn internal_topics_are_refused_whoever_asks() {
    for name in [TopicName::CONSUMER_OFFSETS, TopicName::TRANSACTION_STATE, TopicName::SCHLOSS_STATE] {
        let house = House::with_topic(name);
        let alice = house.connect("alice");
        let response = house.ask(&alice, 12, &produce(-1, &[(name, 0, batch(&["x"]))])).await;
        assert_eq!(only(&response).error_code, code(ErrorCode::InvalidTopicException));
    }
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let response = house.ask(&alice, 12, &produce(-1, &[(TopicName::CLUSTER_METADATA, 0, batch(&["x"]))])).await;
    assert_eq!(only(&response).error_code, code(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn transactional_batches_are_refused_as_a_whole() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let mut builder = BatchBuilder::new(0).producer(5, 0, 0).transactional();
    builder.append(1, None, Some(b"x"), &[]).unwrap();
    let request = produce(-1, &[("t", 0, batch(&["x"])), ("t", 1, builder.build())]);
    let response = house.ask(&alice, 12, &request).await;
    let refused = code(ErrorCode::TransactionalIdAuthorizationFailed);
    assert_eq!(produced(&response), [("t", 0, refused, -1), ("t", 1, refused, -1)]);
    let message = &response.responses[0].partition_responses[0].error_message;
    assert_eq!(message.as_deref(), Some("transactions are not available yet"));
    let init = InitProducerIdRequest { transactional_id: Some("tx".into()), ..Default::default() };
    assert_eq!(house.ask(&alice, 5, &init).await.error_code, refused);
}

#[tokio::test]
async fn producers_are_told_apart_and_their_repeats_known() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let init =
        InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
    let (first, second) = (house.ask(&alice, 5, &init).await, house.ask(&alice, 5, &init).await);
    assert_eq!((first.error_code, first.producer_id, first.producer_epoch), (0, 4000, 0));
    assert_eq!(second.producer_id, 4001);
    // Whatever a producer without transactions brings along, it gets a new id.
    let again = InitProducerIdRequest { producer_id: 4000, producer_epoch: 3, ..init.clone() };
    let again = house.ask(&alice, 5, &again).await;
    assert_eq!((again.error_code, again.producer_id, again.producer_epoch), (0, 4002, 0));
    let half = InitProducerIdRequest { producer_id: 4000, ..init };
    let half = house.ask(&alice, 5, &half).await;
    assert_eq!((half.error_code, half.producer_id), (code(ErrorCode::InvalidRequest), -1));

    let mut answers = Vec::new();
    for sequence in [0, 1, 1, 5, 2] {
        let records = producer_batch(&["v"], 4000, 0, sequence);
        let response = house.ask(&alice, 9, &produce(-1, &[("t", 0, records)])).await;
        let answer = only(&response);
        answers.push((answer.error_code, answer.base_offset, answer.log_start_offset));
    }
    let gap = code(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(answers, [(0, 0, 0), (0, 1, 0), (0, 1, 0), (gap, -1, 0), (0, 2, 0)]);
}

#[tokio::test]
async fn a_full_lane_holds_the_request_back_and_loses_nothing() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let large = batch(&[vec![b'x'; INLINE_BYTES]]);
    let mut sent = Vec::new();
    // More than the lane's queue takes: the last sends would wait for ever if nobody drained it.
    for _ in 0..4096 {
        sent.push(house.send(&alice, 12, &produce(1, &[("t", 0, large.clone())])).await);
    }
    let request = produce(1, &[("t", 0, large)]);
    let mut blocked = Box::pin(house.send(&alice, 12, &request));
    assert!((&mut blocked).now_or_never().is_none());
    house.bench.work();
    sent.push(blocked.await);
    house.bench.work();
    for (next, asked) in (0..).zip(sent) {
        let response: ProduceResponse = asked.response().await;
        assert_eq!((only(&response).error_code, only(&response).base_offset), (0, next));
    }
}

#[tokio::test]
async fn strict_takes_no_invented_producer_ids() {
    let house = House::with_topic("t");
    let alice = house.connect("alice");
    let mut codes = Vec::new();
    for id in [PRODUCER_IDS_END - 1, PRODUCER_IDS_END, i64::MAX] {
        let response = house.ask(&alice, 9, &produce(-1, &[("t", 0, producer_batch(&["v"], id, 0, 0))])).await;
        codes.push(only(&response).error_code);
    }
    let unknown = code(ErrorCode::UnknownProducerId);
    assert_eq!(codes, [0, unknown, unknown]);
}
