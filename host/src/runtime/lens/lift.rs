//! From a guest's memory to bytes.

use std::sync::atomic::{AtomicU32, Ordering};

use lattice::wire::value::binary::{TICKET, put_bytes, put_char, put_signed, put_varint};
use wasmtime::{
    Result, ValRaw, bail,
    component::{
        __internal::{
            CanonicalAbiInfo, InterfaceType, LiftContext,
            wasmtime_environ::component::{ComponentTypes, StringEncoding, VariantInfo},
        },
        FutureReader, Lift as _, ResourceAny, ResourceType, StreamReader,
    },
    ensure,
};

use super::{GuestFlow, LatticeResource, Lifted};

/// Where a value lies.
#[derive(Clone, Copy)]
pub(super) enum At<'s> {
    /// In the values of a core call.
    Flat(&'s [ValRaw]),
    /// At an offset of the linear memory.
    Memory(usize),
}

/// One lifting of the parameters or results of a call.
pub(super) struct Lifting<'c, 'a> {
    cx: &'c mut LiftContext<'a>,
    into: Lifted,
}

/// Lifts the values of `types`, a tuple.
pub(super) fn lift(cx: &mut LiftContext<'_>, types: InterfaceType, at: At<'_>) -> Result<Lifted> {
    let mut lifting = Lifting { cx, into: Lifted::default() };
    lifting.value(types, at)?;
    Ok(lifting.into)
}

/// Numbers for resources that leave their instance, unique in this process, so that a number of an instance that is
/// gone never means a resource of another one. They begin at random, so that they also differ from those of a process
/// that was here before.
pub(super) fn next_number() -> u32 {
    static NEXT: std::sync::LazyLock<AtomicU32> =
        std::sync::LazyLock::new(|| AtomicU32::new(uuid::Uuid::now_v7().as_u128() as u32));
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Lifting<'_, '_> {
    fn value(&mut self, ty: InterfaceType, at: At<'_>) -> Result<()> {
        let types = self.cx.types;
        match ty {
            InterfaceType::Bool => self.into.bytes.push((self.raw(at, 1)? != 0).into()),
            InterfaceType::U8 | InterfaceType::S8 => {
                let byte = self.raw(at, 1)? as u8;
                self.into.bytes.push(byte);
            }
            InterfaceType::U16 => self.unsigned(at, 2)?,
            InterfaceType::U32 => self.unsigned(at, 4)?,
            InterfaceType::U64 => self.unsigned(at, 8)?,
            InterfaceType::S16 => {
                let value = self.raw(at, 2)? as i16;
                put_signed(&mut self.into.bytes, value.into());
            }
            InterfaceType::S32 => {
                let value = self.raw(at, 4)? as i32;
                put_signed(&mut self.into.bytes, value.into());
            }
            InterfaceType::S64 => {
                let value = self.raw(at, 8)? as i64;
                put_signed(&mut self.into.bytes, value);
            }
            InterfaceType::Float32 => {
                let bits = self.raw(at, 4)? as u32;
                self.into.bytes.extend_from_slice(&bits.to_le_bytes());
            }
            InterfaceType::Float64 => {
                let bits = self.raw(at, 8)?;
                self.into.bytes.extend_from_slice(&bits.to_le_bytes());
            }
            InterfaceType::Char => {
                let code = self.raw(at, 4)? as u32;
                let Some(value) = char::from_u32(code) else { bail!("{code:#x} is not a character") };
                put_char(&mut self.into.bytes, value);
            }
            InterfaceType::String => self.string(ty, at)?,
            InterfaceType::List(list) => {
                let (pointer, length) = self.pair(at)?;
                self.list(types[list].element, pointer, length)?;
            }
            InterfaceType::Map(map) => {
                let (pointer, length) = self.pair(at)?;
                let map = &types[map];
                let entry = self.span(pointer, length, &map.entry_abi)?;
                put_varint(&mut self.into.bytes, length as u64);
                for index in 0..length {
                    let at = pointer + index * entry;
                    self.value(map.key, At::Memory(at))?;
                    self.value(map.value, At::Memory(at + map.value_offset32 as usize))?;
                }
            }
            InterfaceType::FixedLengthList(list) => {
                let list = &types[list];
                self.parts(at, std::iter::repeat_n(list.element, list.size as usize))?;
            }
            InterfaceType::Record(record) => self.parts(at, types[record].fields.iter().map(|field| field.ty))?,
            InterfaceType::Tuple(tuple) => self.parts(at, types[tuple].types.iter().copied())?,
            InterfaceType::Variant(variant) => {
                let variant = &types[variant];
                let case = self.case(at, &variant.info, variant.cases.len())?;
                let payload = variant.cases.get_index(case).and_then(|(_, payload)| *payload);
                put_varint(&mut self.into.bytes, case as u64);
                self.payload(at, &variant.info, payload)?;
            }
            InterfaceType::Enum(of) => {
                let case = self.case(at, &types[of].info, types[of].names.len())?;
                put_varint(&mut self.into.bytes, case as u64);
            }
            InterfaceType::Option(option) => {
                let option = &types[option];
                let case = self.case(at, &option.info, 2)?;
                self.into.bytes.push(case as u8);
                self.payload(at, &option.info, (case == 1).then_some(option.ty))?;
            }
            InterfaceType::Result(result) => {
                let result = &types[result];
                let case = self.case(at, &result.info, 2)?;
                self.into.bytes.push(case as u8);
                self.payload(at, &result.info, if case == 0 { result.ok } else { result.err })?;
            }
            InterfaceType::Flags(flags) => self.flags(at, types[flags].names.len())?,
            InterfaceType::Own(_) | InterfaceType::Borrow(_) => self.resource(ty, at)?,
            InterfaceType::Stream(_) | InterfaceType::Future(_) => self.flow(ty, at)?,
            InterfaceType::ErrorContext(_) => bail!("error contexts do not cross here"),
        }
        Ok(())
    }

    /// The lowest `bytes` bytes of a number.
    fn raw(&self, at: At<'_>, bytes: usize) -> Result<u64> {
        match at {
            At::Flat(slots) => {
                let Some(slot) = slots.first() else { bail!("a core value is missing") };
                Ok(slot.get_u64() & (u64::MAX >> (64 - 8 * bytes)))
            }
            At::Memory(offset) => {
                let mut raw = [0; 8];
                let memory = self.cx.memory().get(offset..).and_then(|memory| memory.get(..bytes));
                let Some(memory) = memory else { bail!("a value lies outside of the memory") };
                raw[..bytes].copy_from_slice(memory);
                Ok(u64::from_le_bytes(raw))
            }
        }
    }

    fn unsigned(&mut self, at: At<'_>, bytes: usize) -> Result<()> {
        let value = self.raw(at, bytes)?;
        put_varint(&mut self.into.bytes, value);
        Ok(())
    }

    /// A pointer and a length.
    fn pair(&self, at: At<'_>) -> Result<(usize, usize)> {
        let second = match at {
            At::Flat(slots) => At::Flat(slots.get(1..).unwrap_or_default()),
            At::Memory(offset) => At::Memory(offset + 4),
        };
        Ok((self.raw(at, 4)? as usize, self.raw(second, 4)? as usize))
    }

    /// Checks that `length` elements lie in the memory at `pointer`; returns the size of one.
    fn span(&mut self, pointer: usize, length: usize, element: &CanonicalAbiInfo) -> Result<usize> {
        let size = element.size32 as usize;
        ensure!(pointer.is_multiple_of(element.align32 as usize), "a list's pointer is not aligned");
        let end = size.checked_mul(length).and_then(|bytes| bytes.checked_add(pointer));
        ensure!(end.is_some_and(|end| end <= self.cx.memory().len()), "a list lies outside of the memory");
        // wasmtime's own bound on what one call may make a host copy.
        self.cx.consume_fuel_array(length, size)?;
        Ok(size)
    }

    fn string(&mut self, ty: InterfaceType, at: At<'_>) -> Result<()> {
        let (pointer, length) = self.pair(at)?;
        if self.cx.options().string_encoding != StringEncoding::Utf8 {
            let flat = [ValRaw::u32(pointer as u32), ValRaw::u32(length as u32)];
            let text = String::linear_lift_from_flat(self.cx, ty, &flat)?;
            put_bytes(&mut self.into.bytes, text.as_bytes());
            return Ok(());
        }
        self.cx.consume_fuel(length)?;
        let bytes = self.cx.memory().get(pointer..).and_then(|memory| memory.get(..length));
        let Some(bytes) = bytes else { bail!("a string lies outside of the memory") };
        let text = std::str::from_utf8(bytes)?;
        put_bytes(&mut self.into.bytes, text.as_bytes());
        Ok(())
    }

    fn list(&mut self, element: InterfaceType, pointer: usize, length: usize) -> Result<()> {
        let types = self.cx.types;
        let abi = types.canonical_abi(&element);
        let size = self.span(pointer, length, abi)?;
        put_varint(&mut self.into.bytes, length as u64);
        match element {
            // In memory as on the wire.
            InterfaceType::U8 | InterfaceType::S8 | InterfaceType::Float32 | InterfaceType::Float64 => {
                let memory = self.cx.memory();
                self.into.bytes.extend_from_slice(&memory[pointer..pointer + length * size]);
            }
            _ => {
                for index in 0..length {
                    self.value(element, At::Memory(pointer + index * size))?;
                }
            }
        }
        Ok(())
    }

    /// Values one after the other.
    fn parts(&mut self, at: At<'_>, types: impl Iterator<Item = InterfaceType>) -> Result<()> {
        match at {
            At::Flat(mut slots) => {
                for ty in types {
                    let count = flat_count(self.cx.types.canonical_abi(&ty))?;
                    ensure!(count <= slots.len(), "a core value is missing");
                    let (own, rest) = slots.split_at(count);
                    self.value(ty, At::Flat(own))?;
                    slots = rest;
                }
            }
            At::Memory(start) => {
                let mut offset = 0;
                for ty in types {
                    let part = self.cx.types.canonical_abi(&ty).next_field32_size(&mut offset);
                    self.value(ty, At::Memory(start + part))?;
                }
            }
        }
        Ok(())
    }

    fn case(&self, at: At<'_>, info: &VariantInfo, cases: usize) -> Result<usize> {
        // In a core call the number of a case is an i32, whatever its size in memory.
        let bytes = match at {
            At::Flat(_) => 4,
            At::Memory(_) => u32::from(info.size) as usize,
        };
        let case = self.raw(at, bytes)? as usize;
        ensure!(case < cases, "case {case} of {cases} does not exist");
        Ok(case)
    }

    fn payload(&mut self, at: At<'_>, info: &VariantInfo, payload: Option<InterfaceType>) -> Result<()> {
        let Some(ty) = payload else { return Ok(()) };
        match at {
            At::Flat(slots) => self.value(ty, At::Flat(slots.get(1..).unwrap_or_default())),
            At::Memory(start) => self.value(ty, At::Memory(start + info.payload_offset32 as usize)),
        }
    }

    fn flags(&mut self, at: At<'_>, count: usize) -> Result<()> {
        let mut left = count;
        for word in 0..count.div_ceil(32) {
            let at = match at {
                At::Flat(slots) => At::Flat(slots.get(word..).unwrap_or_default()),
                At::Memory(offset) => At::Memory(offset + 4 * word),
            };
            // Few flags take less than a word of memory.
            let size = if count <= 8 {
                1
            } else if count <= 16 {
                2
            } else {
                4
            };
            let here = left.min(32);
            let bits = self.raw(at, size)? & (u64::MAX >> (64 - here));
            self.into.bytes.extend_from_slice(&bits.to_le_bytes()[..here.div_ceil(8)]);
            left -= here;
        }
        Ok(())
    }

    fn flow(&mut self, ty: InterfaceType, at: At<'_>) -> Result<()> {
        let index = ValRaw::u32(self.raw(at, 4)? as u32);
        let cx = &mut *self.cx;
        let flow = match (ty, carried(cx.types, ty)) {
            (InterfaceType::Stream(_), Some(InterfaceType::U8)) => {
                GuestFlow::Bytes(StreamReader::linear_lift_from_flat(cx, ty, &index)?)
            }
            (InterfaceType::Stream(_), Some(_)) => {
                GuestFlow::Elements(StreamReader::linear_lift_from_flat(cx, ty, &index)?)
            }
            (InterfaceType::Stream(_), None) => GuestFlow::Marks(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            (_, Some(_)) => GuestFlow::Value(FutureReader::linear_lift_from_flat(cx, ty, &index)?),
            (_, None) => GuestFlow::Signal(FutureReader::linear_lift_from_flat(cx, ty, &index)?),
        };
        self.into.flows.push((self.into.bytes.len(), flow));
        self.into.bytes.extend_from_slice(&[0; TICKET]);
        Ok(())
    }

    fn resource(&mut self, ty: InterfaceType, at: At<'_>) -> Result<()> {
        let index = self.raw(at, 4)? as u32;
        let (InterfaceType::Own(table) | InterfaceType::Borrow(table)) = ty else { bail!("not a resource") };
        let number = if self.cx.resource_type(table) == ResourceType::host::<LatticeResource>() {
            if matches!(ty, InterfaceType::Borrow(_)) {
                self.cx.guest_resource_lift_borrow(table, index)?
            } else {
                let (number, ..) = self.cx.guest_resource_lift_own(table, index)?;
                self.into.returned.push(number);
                number
            }
        } else {
            let resource = ResourceAny::linear_lift_from_flat(self.cx, ty, &ValRaw::u32(index))?;
            let number = next_number();
            self.into.given.push((number, resource));
            number
        };
        put_varint(&mut self.into.bytes, number.into());
        Ok(())
    }
}

/// What a stream or a future of this type carries.
pub(super) fn carried(types: &ComponentTypes, flow: InterfaceType) -> Option<InterfaceType> {
    match flow {
        InterfaceType::Stream(stream) => types[types[stream].ty].payload,
        InterfaceType::Future(future) => types[types[future].ty].payload,
        _ => None,
    }
}

/// How many core values stand for a type, where it is passed in core values at all.
pub(super) fn flat_count(abi: &CanonicalAbiInfo) -> Result<usize> {
    match abi.flat_count {
        Some(count) => Ok(count.into()),
        None => bail!("a type has too many core values"),
    }
}
