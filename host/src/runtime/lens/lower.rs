//! From bytes to a guest's memory.

use std::{any::Any, mem::MaybeUninit, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt as _;
use lattice::{
    bus::{Pieces, Taker},
    wire::value::{
        ValueError,
        binary::{Content, Reader},
    },
};
use wasmtime::{
    AsContextMut as _, Result, ValRaw, bail,
    component::{
        __internal::{CanonicalAbiInfo, InterfaceType, LowerContext, wasmtime_environ::component::VariantInfo},
        Lower, ResourceType,
    },
    ensure,
};

use super::{
    ErrorRoom, Held, LatticeResource,
    element::Element,
    flow::{self, Fate},
    lift::{carried, flat_count},
};

/// Where a value goes.
pub(super) enum To<'s> {
    /// Into the values of a core call.
    Flat(&'s mut [MaybeUninit<ValRaw>]),
    /// To an offset of the linear memory.
    Memory(usize),
}

/// What goes into a guest: the parameters of an export, or the result of an import.
#[derive(Default)]
pub(in super::super) struct Intake {
    /// As they came: to make a `Vec` of them would move them all.
    pub(in super::super) bytes: Bytes,
    /// What others hold of the instance.
    pub(in super::super) held: Option<Arc<Held>>,
    /// Where streams are taken from.
    pub(in super::super) streams: Option<Taker>,
    /// What is kept until the guest has done with them.
    pub(in super::super) place: Option<Place>,
}

/// Something that streams keep for as long as they are open.
pub(in super::super) type Place = Arc<dyn Any + Send + Sync>;

/// One lowering of the parameters or results of a call.
struct Lowering<'c, 'a, 'b, T: 'static> {
    cx: &'c mut LowerContext<'a, T>,
    intake: &'b Intake,
    from: Reader<'b>,
    /// What its streams and futures share; made for the first of them.
    fate: Option<Arc<Fate>>,
}

/// Lowers the values of `types`, a tuple.
pub(super) fn lower<T>(cx: &mut LowerContext<'_, T>, types: InterfaceType, intake: &Intake, to: To<'_>) -> Result<()> {
    let mut lowering = Lowering { cx, intake, from: Reader::new(&intake.bytes), fate: None };
    lowering.value(types, to)?;
    lowering.from.finish()?;
    Ok(())
}

impl<T> Lowering<'_, '_, '_, T> {
    fn value(&mut self, ty: InterfaceType, to: To<'_>) -> Result<()> {
        let types = self.cx.types;
        match ty {
            InterfaceType::Bool => {
                let value = self.from.bool()?;
                self.put(to, value.into(), 1)?;
            }
            InterfaceType::U8 => {
                let value = self.from.byte()?;
                self.put(to, value.into(), 1)?;
            }
            // In a core value a signed number keeps its sign: it is an i32.
            InterfaceType::S8 => {
                let value = self.from.byte()? as i8;
                self.put(to, i32::from(value) as u32 as u64, 1)?;
            }
            InterfaceType::U16 => {
                let value = self.from.unsigned::<u16>()?;
                self.put(to, value.into(), 2)?;
            }
            InterfaceType::S16 => {
                let value = self.from.integer::<i16>()?;
                self.put(to, i32::from(value) as u32 as u64, 2)?;
            }
            InterfaceType::U32 => {
                let value = self.from.unsigned::<u32>()?;
                self.put(to, value.into(), 4)?;
            }
            InterfaceType::S32 => {
                let value = self.from.integer::<i32>()?;
                self.put(to, value as u32 as u64, 4)?;
            }
            InterfaceType::U64 => {
                let value = self.from.varint()?;
                self.put(to, value, 8)?;
            }
            InterfaceType::S64 => {
                let value = self.from.signed()?;
                self.put(to, value as u64, 8)?;
            }
            InterfaceType::Float32 => {
                let bits = u32::from_le_bytes(self.from.array()?);
                self.put(to, bits.into(), 4)?;
            }
            InterfaceType::Float64 => {
                let bits = u64::from_le_bytes(self.from.array()?);
                self.put(to, bits, 8)?;
            }
            InterfaceType::Char => {
                let value = self.from.char()?;
                self.put(to, u32::from(value).into(), 4)?;
            }
            InterfaceType::String => self.string(ty, to)?,
            InterfaceType::List(list) => {
                let pair = self.list(types[list].element)?;
                self.put_pair(to, pair)?;
            }
            InterfaceType::Map(map) => {
                let map = &types[map];
                let length = self.from.length()?;
                let (start, entry) = self.allocate(length, &map.entry_abi)?;
                for index in 0..length {
                    let at = start + index * entry;
                    self.value(map.key, To::Memory(at))?;
                    self.value(map.value, To::Memory(at + map.value_offset32 as usize))?;
                }
                self.put_pair(to, (start, length))?;
            }
            InterfaceType::FixedLengthList(list) => {
                let list = &types[list];
                self.parts(to, std::iter::repeat_n(list.element, list.size as usize))?;
            }
            InterfaceType::Record(record) => self.parts(to, types[record].fields.iter().map(|field| field.ty))?,
            InterfaceType::Tuple(tuple) => self.parts(to, types[tuple].types.iter().copied())?,
            InterfaceType::Variant(variant) => {
                let variant = &types[variant];
                let case = self.from.case(variant.cases.len())?;
                let payload = variant.cases.get_index(case as usize).and_then(|(_, payload)| *payload);
                self.variant(to, case, &variant.info, payload)?;
            }
            InterfaceType::Enum(of) => {
                let case = self.from.case(types[of].names.len())?;
                self.variant(to, case, &types[of].info, None)?;
            }
            InterfaceType::Option(option) => {
                let option = &types[option];
                let case = self.from.case(2)?;
                self.variant(to, case, &option.info, (case == 1).then_some(option.ty))?;
            }
            InterfaceType::Result(result) => {
                let result = &types[result];
                let case = self.from.case(2)?;
                self.variant(to, case, &result.info, if case == 0 { result.ok } else { result.err })?;
            }
            InterfaceType::Flags(flags) => self.flags(to, types[flags].names.len())?,
            InterfaceType::Own(_) | InterfaceType::Borrow(_) => self.resource(ty, to)?,
            InterfaceType::Stream(_) | InterfaceType::Future(_) => self.flow(ty, to)?,
            InterfaceType::ErrorContext(_) => bail!("error contexts do not cross here"),
        }
        Ok(())
    }

    /// Puts a number of `bytes` bytes; in a core value, all bits of `raw`.
    fn put(&mut self, to: To<'_>, raw: u64, bytes: usize) -> Result<()> {
        match to {
            To::Flat([slot, ..]) => {
                slot.write(ValRaw::u64(raw));
            }
            To::Flat([]) => bail!("a core value is missing"),
            To::Memory(offset) => {
                let memory = self.cx.as_slice_mut().get_mut(offset..).and_then(|memory| memory.get_mut(..bytes));
                let Some(memory) = memory else { bail!("a value lies outside of the memory") };
                memory.copy_from_slice(&raw.to_le_bytes()[..bytes]);
            }
        }
        Ok(())
    }

    /// Puts a pointer and a length.
    fn put_pair(&mut self, to: To<'_>, (pointer, length): (usize, usize)) -> Result<()> {
        match to {
            To::Flat(slots) => {
                ensure!(slots.len() >= 2, "a core value is missing");
                let (first, second) = slots.split_at_mut(1);
                self.put(To::Flat(first), pointer as u64, 4)?;
                self.put(To::Flat(second), length as u64, 4)
            }
            To::Memory(offset) => {
                self.put(To::Memory(offset), pointer as u64, 4)?;
                self.put(To::Memory(offset + 4), length as u64, 4)
            }
        }
    }

    /// Memory of the guest for `length` elements, and the size of one. The guest's own allocator gives it.
    fn allocate(&mut self, length: usize, element: &CanonicalAbiInfo) -> Result<(usize, usize)> {
        let size = element.size32 as usize;
        let Some(bytes) = size.checked_mul(length) else { bail!("a list is larger than a memory") };
        Ok((self.cx.realloc(0, 0, element.align32, bytes)?, size))
    }

    fn string(&mut self, ty: InterfaceType, to: To<'_>) -> Result<()> {
        let text = self.from.text()?;
        // wasmtime's own: it knows each guest's encoding.
        match to {
            To::Flat(slots) => {
                let mut pair = MaybeUninit::uninit();
                text.linear_lower_to_flat(self.cx, ty, &mut pair)?;
                // SAFETY: the lowering of a string, when it succeeds, fills both values.
                #[expect(unsafe_code, reason = "wasmtime's interface")]
                let [pointer, length] = unsafe { pair.assume_init() };
                self.put_pair(To::Flat(slots), (pointer.get_u32() as usize, length.get_u32() as usize))
            }
            To::Memory(offset) => text.linear_lower_to_memory(self.cx, ty, offset),
        }
    }

    fn list(&mut self, element: InterfaceType) -> Result<(usize, usize)> {
        let types = self.cx.types;
        let abi = types.canonical_abi(&element);
        if let InterfaceType::U8 | InterfaceType::S8 | InterfaceType::Float32 | InterfaceType::Float64 = element {
            let size = abi.size32 as usize;
            let length = self.from.unsigned::<usize>()?;
            let bytes = length.checked_mul(size).ok_or(ValueError::Short)?;
            // Taken before it is allocated: a length that lies costs the guest nothing.
            let bytes = self.from.take(bytes)?;
            let (start, _) = self.allocate(length, abi)?;
            match self.cx.as_slice_mut().get_mut(start..).and_then(|memory| memory.get_mut(..bytes.len())) {
                Some(memory) => memory.copy_from_slice(bytes),
                None => bail!("a list lies outside of the memory"),
            }
            return Ok((start, length));
        }
        let length = self.from.length()?;
        let (start, size) = self.allocate(length, abi)?;
        for index in 0..length {
            self.value(element, To::Memory(start + index * size))?;
        }
        Ok((start, length))
    }

    /// Values one after the other.
    fn parts(&mut self, to: To<'_>, types: impl Iterator<Item = InterfaceType>) -> Result<()> {
        match to {
            To::Flat(mut slots) => {
                for ty in types {
                    let count = flat_count(self.cx.types.canonical_abi(&ty))?;
                    ensure!(count <= slots.len(), "a core value is missing");
                    let (own, rest) = slots.split_at_mut(count);
                    self.value(ty, To::Flat(own))?;
                    slots = rest;
                }
            }
            To::Memory(start) => {
                let mut offset = 0;
                for ty in types {
                    let part = self.cx.types.canonical_abi(&ty).next_field32_size(&mut offset);
                    self.value(ty, To::Memory(start + part))?;
                }
            }
        }
        Ok(())
    }

    fn variant(&mut self, to: To<'_>, case: u32, info: &VariantInfo, payload: Option<InterfaceType>) -> Result<()> {
        match to {
            To::Flat(slots) => {
                // Values that this case does not use are zero.
                slots.fill(MaybeUninit::new(ValRaw::u64(0)));
                let Some((first, rest)) = slots.split_first_mut() else { bail!("a core value is missing") };
                first.write(ValRaw::u32(case));
                payload.map_or(Ok(()), |ty| self.value(ty, To::Flat(rest)))
            }
            To::Memory(start) => {
                self.put(To::Memory(start), case.into(), u32::from(info.size) as usize)?;
                payload.map_or(Ok(()), |ty| self.value(ty, To::Memory(start + info.payload_offset32 as usize)))
            }
        }
    }

    fn flags(&mut self, mut to: To<'_>, count: usize) -> Result<()> {
        let mut left = count;
        for word in 0..count.div_ceil(32) {
            let here = left.min(32);
            let mut bits = [0; 4];
            bits[..here.div_ceil(8)].copy_from_slice(self.from.take(here.div_ceil(8))?);
            // Bits beyond the last flag mean nothing.
            let bits = u64::from(u32::from_le_bytes(bits)) & (u64::MAX >> (64 - here));
            let size = if count <= 8 {
                1
            } else if count <= 16 {
                2
            } else {
                4
            };
            match &mut to {
                To::Flat(slots) => self.put(To::Flat(slots.get_mut(word..).unwrap_or_default()), bits, 4)?,
                To::Memory(offset) => self.put(To::Memory(*offset + 4 * word), bits, size)?,
            }
            left -= here;
        }
        Ok(())
    }

    fn resource(&mut self, ty: InterfaceType, to: To<'_>) -> Result<()> {
        let number = self.from.unsigned::<u32>()?;
        let (InterfaceType::Own(table) | InterfaceType::Borrow(table)) = ty else { bail!("not a resource") };
        let index = if self.cx.resource_type(table) == ResourceType::host::<LatticeResource>() {
            match ty {
                InterfaceType::Own(_) => self.cx.guest_resource_lower_own(table, number)?,
                _ => self.cx.guest_resource_lower_borrow(table, number)?,
            }
        } else {
            let held = self.intake.held.as_ref().and_then(|held| match ty {
                InterfaceType::Own(_) => held.take(number),
                _ => held.lend(number),
            });
            let Some(resource) = held else { bail!(UnknownResource(number)) };
            self.index(&resource, ty)?
        };
        self.put(to, index.into(), 4)
    }

    fn flow(&mut self, ty: InterfaceType, to: To<'_>) -> Result<()> {
        let pieces: Pieces = match (self.from.content()?, &self.intake.streams) {
            (Content::Here(content), _) => {
                let content = Bytes::copy_from_slice(content);
                Box::pin(futures_util::stream::iter((!content.is_empty()).then_some(Ok(content))))
            }
            (Content::Elsewhere(ticket), Some(streams)) => {
                let (pieces, place) = (streams.take(&ticket)?, self.intake.place.clone());
                Box::pin(pieces.inspect(move |_| _ = &place))
            }
            (Content::Elsewhere(_), None) => bail!("a stream cannot be taken here"),
        };
        let fate = self.fate.get_or_insert_default().clone();
        let types = self.cx.types;
        let carried = carried(types, ty);
        let store = self.cx.store.as_context_mut();
        let index = match (ty, carried) {
            (InterfaceType::Stream(_), Some(InterfaceType::U8)) => {
                let reader = flow::byte_stream(store, pieces, fate)?;
                self.index(&reader, ty)?
            }
            (InterfaceType::Stream(_), Some(_)) => {
                let reader = flow::element_stream::<Element, _>(store, pieces, fate)?;
                self.index(&reader, ty)?
            }
            (InterfaceType::Stream(_), None) => {
                let reader = flow::element_stream::<(), _>(store, pieces, fate)?;
                self.index(&reader, ty)?
            }
            (_, Some(value)) => {
                let reader = flow::later::<Element, _>(store, pieces, ErrorRoom::of_type(types, value), fate)?;
                self.index(&reader, ty)?
            }
            (_, None) => {
                let reader = flow::later::<(), _>(store, pieces, None, fate)?;
                self.index(&reader, ty)?
            }
        };
        self.put(to, index.into(), 4)
    }

    /// The guest's own index of something that is given to it.
    fn index(&mut self, given: &impl Lower<Lower = ValRaw>, ty: InterfaceType) -> Result<u32> {
        let mut index = MaybeUninit::uninit();
        given.linear_lower_to_flat(self.cx, ty, &mut index)?;
        // SAFETY: a lowering, when it succeeds, fills its value.
        #[expect(unsafe_code, reason = "wasmtime's interface")]
        Ok(unsafe { index.assume_init() }.get_u32())
    }
}

/// A resource that the instance does not have, or not any more.
#[derive(Debug, thiserror::Error)]
#[error("there is no resource {0} here")]
pub(in super::super) struct UnknownResource(pub(super) u32);
