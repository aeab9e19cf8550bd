//! Every request and response that Kafka 4.3.1 knows, one module each, generated from `schema/api/` and its siblings.
//!
//! The field names are Kafka's in snake case; a structure inside a message has Kafka's name and lives in the message's
//! module: `messages::produce_request::{ProduceRequest, TopicProduceData, PartitionProduceData}`.
//!
//! Strings, bytes and records of a decoded message are slices of its frame and keep all of it in memory: what outlives
//! the request is copied out. A nullable field without a default of its own is not null by default but empty, as in
//! Kafka.

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
