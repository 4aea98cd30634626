//! The streams and futures that values carry, on their way out of an instance.

use lattice::{
    bus::{Exchange, HandedOut, Source},
    wire::{CallError, value::binary::ticket_bytes},
};
use wasmtime::AsContextMut;

use super::{
    guest::Guest,
    lens::{GuestFlow, Place},
};

/// Sources of streams, and where in a value's bytes there is room for their tickets.
pub(super) type Sources = Vec<(usize, Source)>;

/// Begins to read what a guest gave away with a value. `place` is kept until the guest has closed all of it.
pub(super) fn pipe(
    mut store: impl AsContextMut<Data = Guest>,
    flows: Vec<(usize, GuestFlow)>,
    place: Option<&Place>,
) -> wasmtime::Result<Sources> {
    let mut sources = Vec::with_capacity(flows.len());
    for (at, flow) in flows {
        sources.push((at, flow.pipe(&mut store, place)?));
    }
    Ok(sources)
}

/// Offers the streams that go with a value, and writes their tickets into it.
pub(super) async fn hand_out(
    exchange: &Exchange,
    bytes: &mut [u8],
    sources: Sources,
) -> Result<Vec<HandedOut>, CallError> {
    let mut offers = Vec::with_capacity(sources.len());
    for (at, source) in sources {
        let offer = exchange.offer(source).await?;
        let ticket = ticket_bytes(&offer.ticket());
        if let Some(room) = bytes.get_mut(at..at + ticket.len()) {
            room.copy_from_slice(&ticket);
        }
        offers.push(offer);
    }
    Ok(offers)
}
