//! Partitions and who serves them: roles, what is committed, appends through lanes, waiting produces and fetches.
//!
//! Precedents: Kafka's `ReplicaManager`, `Partition`, `DelayedProduce`, `DelayedFetch`, `FetchSession` (KIP-227).
//! Knows no socket, no runtime and no clock: time comes in as an argument, a wait is a `std::task` future, and what must
//! be done elsewhere goes out as a return value. It may not know who is allowed what, only that it was shown a permit.

pub mod completion;
pub mod delayed_produce;
pub mod doorbell;
pub mod fetch_session;
pub mod lane;
pub mod partition;
pub mod produce_error;
pub mod watchers;
