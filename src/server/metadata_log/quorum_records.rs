//! What the quorum says about itself in control records: `kraft.version` and the voters (KIP-853).

use bytes::Bytes;

use crate::protocol::control::{ControlRecord, ControlType};
use crate::protocol::records::control::{KRaftVersionRecord, VotersRecord};
use crate::protocol::wire::{DecodeError, Message as _, Reader};

/// kraft.version and the voters that the log itself names; nothing where the configuration names them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct QuorumRecords {
    version: i16,
    voters: Option<VotersRecord>,
}

impl QuorumRecords {
    /// 0: the voters are those of `controller.quorum.voters`.
    pub fn kraft_version(&self) -> i16 {
        self.version
    }

    /// Ids of the voters that the log names.
    pub fn voter_ids(&self) -> Option<Vec<i32>> {
        self.voters.as_ref().map(|record| record.voters.iter().map(|voter| voter.voter_id).collect())
    }

    /// Takes in a control record; those of other kinds change nothing.
    ///
    /// # Errors
    /// The value can't be read.
    pub fn apply(&mut self, control: &ControlRecord<'_>) -> Result<(), DecodeError> {
        let mut r = Reader::new(Bytes::copy_from_slice(control.value));
        match control.control_type {
            ControlType::KraftVersion => self.version = KRaftVersionRecord::decode(&mut r, 0)?.kraft_version,
            ControlType::KraftVoters => self.voters = Some(VotersRecord::decode(&mut r, 0)?),
            _ => {}
        }
        Ok(())
    }

    /// The records that say the same: none with kraft.version 0.
    pub fn control_records(&self) -> Vec<(ControlType, Bytes)> {
        if self.version == 0 {
            return Vec::new();
        }
        let version = KRaftVersionRecord { version: 0, kraft_version: self.version }.to_bytes(0);
        let mut records = vec![(ControlType::KraftVersion, version)];
        records.extend(self.voters.as_ref().map(|voters| (ControlType::KraftVoters, voters.to_bytes(0))));
        records
    }
}
