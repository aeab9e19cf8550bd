//! How much of anything one peer may have: memory for requests, connections, connection rate.
//!
//! Kept contracts: *Memory* (a frame is admitted if anything is free; a connection that holds an eighth or a principal
//! that holds half waits and blocks nobody else; small and group frames have a reserve of their own) and the limits of
//! *A connection* (`max.connections`, per address, per listener, creation rate; the inter-broker listener keeps its slots).
//!
//! Must not know: sockets, tokio, clocks. Time is an argument; who waits is woken through `std::task`.

pub mod connections;
pub mod memory;
