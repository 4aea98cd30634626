//! The elements of streams and futures, as bytes, for wasmtime's typed streams.
#![expect(unsafe_code, reason = "wasmtime's interface; see the SAFETY notes")]

use std::{cell::Cell, mem::MaybeUninit};

use bytes::Bytes;
use wasmtime::{
    AsContextMut, Result, ValRaw, bail,
    component::{
        __internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext},
        ComponentType, Lift, Lower, Source,
    },
};

use super::{
    lift::{At, lift},
    lower::{Intake, To, lower},
};

/// What a stream or a future carries: [`Element`], or `()` where it has no type.
pub(super) trait Carried: Lift + Lower + Send + Sync + Unpin + 'static {
    fn new(bytes: Bytes) -> Self;
    fn bytes(&self) -> &[u8];
}

/// One value in the wire's encoding.
#[derive(Debug)]
pub(in super::super) struct Element(Bytes);

impl Carried for Element {
    fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Carried for () {
    fn new(_: Bytes) -> Self {}

    fn bytes(&self) -> &[u8] {
        &[]
    }
}

thread_local! {
    /// Which element of a guest's buffer is lifted next. wasmtime finds elements by the size of a Rust type, which an
    /// `Element` cannot have: it is told a size of 0, and counts from the buffer's beginning itself.
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

/// Takes the elements of what a guest writes, of which none was taken yet, until `take` wants no more of them. It may be
/// given a few more: as many at once as before together, so that large ones are not all in memory.
pub(super) fn read<P: Carried>(
    source: &mut Source<'_, P>,
    mut store: impl AsContextMut,
    mut take: impl FnMut(P) -> bool,
) -> Result<()> {
    // Lifting waits for nothing and calls nobody, so nothing else on this thread lifts an element meanwhile.
    NEXT.set(0);
    let (mut batch, mut more) = (1, true);
    while more {
        let count = source.remaining(&mut store).min(batch);
        if count == 0 {
            break;
        }
        let mut elements = Vec::with_capacity(count);
        source.read(&mut store, &mut elements)?;
        batch += elements.len();
        for element in elements {
            more = take(element);
        }
    }
    Ok(())
}

// SAFETY: `Lower` is a core value, and never used: elements are in memory alone. That any type is accepted is right because
// lifting and lowering go by the type that the component itself declares, and check every offset.
unsafe impl ComponentType for Element {
    type Lower = ValRaw;
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo { size32: 0, align32: 1, size64: 0, align64: 1, flat_count: None };

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: reads bounds-checked memory.
unsafe impl Lift for Element {
    fn linear_lift_from_flat(_: &mut LiftContext<'_>, _: InterfaceType, _: &ValRaw) -> Result<Self> {
        bail!("an element of a stream is in memory")
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        // `bytes` is an empty part of the memory, and tells where the buffer begins.
        let start = (bytes.as_ptr() as usize).wrapping_sub(cx.memory().as_ptr() as usize);
        let size = cx.types.canonical_abi(&ty).size32 as usize;
        let index = NEXT.replace(NEXT.get() + 1);
        let Some(at) = index.checked_mul(size).and_then(|offset| offset.checked_add(start)) else {
            bail!("an element lies outside of the memory");
        };
        Ok(Self(lift(cx, ty, At::Memory(at))?.bytes.into()))
    }
}

// SAFETY: writes bounds-checked memory.
unsafe impl Lower for Element {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut MaybeUninit<ValRaw>,
    ) -> Result<()> {
        bail!("an element of a stream is in memory")
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType, offset: usize) -> Result<()> {
        let intake = Intake { bytes: self.0.clone(), ..Intake::default() };
        lower(cx, ty, &intake, To::Memory(offset))
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        let size = cx.types.canonical_abi(&ty).size32 as usize;
        for (index, item) in items.iter().enumerate() {
            item.linear_lower_to_memory(cx, ty, offset + index * size)?;
        }
        Ok(())
    }
}
