//! Who a peer is, and what it may do: TLS, SASL, credentials, principals, the authorizer and the permits it hands out.
//!
//! Precedent: `org.apache.kafka.common.security`, `org.apache.kafka.server.authorizer`, `StandardAuthorizer`. Everything
//! here is pure: bytes, time and randomness come in, values go out. The room knows no socket, no file, no runtime; what it
//! wants from outside (hashing on another thread, a policy server) it returns as a value for others to carry out.
//!
//! Contracts 3 and 4: a connection is authenticated only by a verifier's positive answer, never by a mechanism's own
//! "finished"; a [`Permit`](authorizer::permit::Permit) is made only by the authorizer or by a named internal caller.

#![warn(clippy::indexing_slicing)]

pub mod authorizer;
pub mod certificate_facts;
pub mod certificates;
pub mod credentials;
pub mod one_line;
pub mod password;
pub mod principal;
pub mod sasl;
pub mod tls;
pub mod verifier;
