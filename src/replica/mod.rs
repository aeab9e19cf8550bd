//! Partitions and who serves them: roles, what is committed, appends through lanes, waiting produces and fetches.
//!
//! Precedents: Kafka's `ReplicaManager`, `Partition`, `DelayedProduce`, `DelayedFetch`, `FetchSession` (KIP-227).
//! Knows no socket, no runtime and no clock of its own: time comes in, a wait is a `std::task` future, and the threads
//! that lanes need are the server's. It does not know who is allowed what, only that it was shown a permit: nothing is
//! read or written without one.
//!
//! Promises: only a partition's lane changes its log; enqueueing never blocks and takes no lock that is held across a
//! system call; effects happen in the order in which they were enqueued; a fetch is never left sleeping over data that it
//! waits for; a lane that has finished many things wakes each runtime once.

pub mod access;
#[cfg(test)]
pub(crate) mod bench;
pub mod completion;
pub mod delayed_produce;
pub mod doorbell;
pub mod fetch_session;
pub mod lane;
pub mod manager;
pub mod partition;
pub mod produce_error;
pub mod reader;
pub mod watchers;
pub mod writer;

pub use manager::ReplicaManager;
