//! The APIs that carry data, through the table, on lanes over a disk in memory. Codes and fields are those that Apache
//! Kafka 4.3.1 answered to the same requests, where nothing else is said.

mod bench;
mod fetches;
mod offsets;
mod produces;
mod rights;
