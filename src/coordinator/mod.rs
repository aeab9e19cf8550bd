//! Coordinators: machines that decide for many clients at once and keep what they decided in an internal topic.
//!
//! `decide` makes records and a response; the response leaves when the records are committed. Time, chance and the log come
//! in as arguments and go out as actions: the driver in `server/` owns the topic's partitions, their logs and the clocks.
//! Must never see a socket, a file or the metadata image.

pub mod group;
