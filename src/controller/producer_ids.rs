//! Blocks of producer ids (KIP-730).

use super::request::{ControllerError, ControllerResponse};
use super::{Controller, Outcome};
use crate::metadata::producer_ids::ProducerIdsImage;
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::protocol::records::metadata::ProducerIdsRecord;

use super::request::ApiError;

/// `AllocateProducerIds`.
#[derive(Debug)]
pub struct AllocateProducerIds {
    pub broker: BrokerId,
    pub broker_epoch: i64,
}

/// Ids `first` to `first + len - 1` are the broker's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    pub first: i64,
    pub len: i32,
}

impl Controller {
    pub(super) fn allocate_producer_ids(&self, request: &AllocateProducerIds) -> Result<Outcome, ControllerError> {
        self.check_broker_epoch(request.broker, request.broker_epoch)?;
        let first = self.image.producer_ids.next();
        let Some(next_producer_id) = first.checked_add(ProducerIdsImage::BLOCK) else {
            let text = "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit";
            return Err(ApiError::new(ErrorCode::UnknownServerError, text).into());
        };
        let record =
            ProducerIdsRecord { broker_id: request.broker.0, broker_epoch: request.broker_epoch, next_producer_id };
        let block = ProducerIdBlock { first, len: i32::try_from(ProducerIdsImage::BLOCK).unwrap_or(i32::MAX) };
        Ok(Outcome::new(vec![RecordAndVersion::v0(record)], ControllerResponse::AllocateProducerIds(block)))
    }
}
