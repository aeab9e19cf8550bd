//! Values of control records: what raft and transactions write between the data.
//!
//! Their keys, i16 version and i16 type, and the batches around them are `protocol::control`'s.

include!(concat!(env!("OUT_DIR"), "/control.rs"));

pub use control_record_type_schema::ControlRecordTypeSchema;
pub use end_txn_marker::EndTxnMarker;
pub use kraft_version_record::KRaftVersionRecord;
pub use leader_change_message::LeaderChangeMessage;
pub use snapshot_footer_record::SnapshotFooterRecord;
pub use snapshot_header_record::SnapshotHeaderRecord;
pub use voters_record::VotersRecord;
