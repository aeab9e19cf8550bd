//! Every request and response that Kafka 4.3.1 knows, one module each, generated from `schema/api/` and its siblings.
//!
//! The field names are Kafka's in snake case; a structure inside a message has Kafka's name and lives in the message's
//! module: `messages::produce_request::{ProduceRequest, TopicProduceData, PartitionProduceData}`.

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
