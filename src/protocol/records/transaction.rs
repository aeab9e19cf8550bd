//! Keys and values of `__transaction_state`, one module each.
//!
//! A key is framed as i16 record type (`ID`) and the key's version 0, a value as i16 version and the value; a tombstone
//! is a null value. Precedent: Kafka's `TransactionLog`.

include!(concat!(env!("OUT_DIR"), "/transaction.rs"));
