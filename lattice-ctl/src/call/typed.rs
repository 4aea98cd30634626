//! Arguments and results of a program against the WIT that came with it. A component's host does that by itself.

use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::app::UnitSpec,
    wire::{
        CallError, UnitId,
        value::{FunctionShape, json},
    },
};

use super::{CallFailure, instances::Candidate};
use crate::{failure::Result, wit::Wit};

/// The types of the function that is called, when they are known here.
#[derive(Debug, Default)]
pub(super) struct Typed(Option<FunctionShape>);

impl Typed {
    pub(super) async fn find(bus: &Bus, spec: &UnitSpec, candidates: &[Candidate], function: &str) -> Self {
        let (Some(program), Some(candidate)) = (spec.program(), candidates.first()) else { return Self::default() };
        Self(Wit::of(bus, program).await.and_then(|wit| wit.function(&candidate.interface, function)))
    }

    pub(super) fn check_arguments(&self, payload: &[u8]) -> std::result::Result<(), CallError> {
        let Some(shape) = &self.0 else { return Ok(()) };
        json::arguments_from_json(shape, payload).map(drop).map_err(CallError::from)
    }

    /// The reply as the table of types in `docs/wire.md` writes it.
    pub(super) fn result(&self, unit: &UnitId, reply: Bytes) -> Result<Bytes> {
        let Some(FunctionShape { result, .. }) = &self.0 else { return Ok(reply) };
        let read = json::result_from_json(result.as_ref(), &reply);
        let written = read.and_then(|bytes| json::result_to_json(result.as_ref(), &bytes));
        let wrong = |error| CallFailure::Untyped { unit: unit.clone(), reason: format!("{error}") };
        Ok(written.map_err(wrong)?.into())
    }
}
