//! Sockets: listeners, TLS, frames, the state of a connection and the task that serves it.

pub mod frame;
pub mod outbox;
pub mod pool;
pub mod scratch;
pub mod tls;
pub mod transport;
