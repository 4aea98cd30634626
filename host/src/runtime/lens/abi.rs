//! The types that carry bytes through wasmtime's static road.
//!
//! That road fixes by type how many core values parameters or results take (`N`). Everything else is looked up in the
//! component's own tables at each call.
#![expect(unsafe_code, reason = "wasmtime's interface; see the module's SAFETY notes")]

use std::mem::MaybeUninit;

use wasmtime::{
    Result, ValRaw,
    component::{
        __internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext},
        ComponentNamedList, ComponentType, Lift, Lower,
    },
};

use super::{
    Intake, Lifted,
    lift::{At, lift},
    lower::{To, lower},
};

/// Values that come out of a guest in `N` core values, or in memory.
pub(super) struct Out<const N: usize>(pub(super) Lifted);

/// The parameters of an export, in at most as many core values as parameters are passed in.
pub(super) struct In(pub(super) Intake);

/// [`In`] for the results of an import, which wasmtime keeps until the import has ended.
pub(super) struct Back<const N: usize>(pub(super) Intake);

/// Nothing that wasmtime allocates or checks goes by these numbers: what is read or written tells its place alone.
const ABI: CanonicalAbiInfo = CanonicalAbiInfo { size32: 0, align32: 1, size64: 0, align64: 1, flat_count: None };

// SAFETY (all of `ComponentType`): `Lower` is an array of `ValRaw`, as it must be. That any function's types are accepted
// is right because lifting and lowering go by the types that the component itself declares, which they are given, and
// check every slot and every offset.
unsafe impl<const N: usize> ComponentType for Out<N> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = ABI;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl<const N: usize> ComponentNamedList for Out<N> {}

// SAFETY: reads the slots that it is given and bounds-checked memory.
unsafe impl<const N: usize> Lift for Out<N> {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &[ValRaw; N]) -> Result<Self> {
        lift(cx, ty, At::Flat(src)).map(Self)
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        // `bytes` is an empty part of the memory (`SIZE32` is 0), and tells where the values begin.
        let offset = (bytes.as_ptr() as usize).wrapping_sub(cx.memory().as_ptr() as usize);
        lift(cx, ty, At::Memory(offset)).map(Self)
    }
}

// SAFETY: see the first.
unsafe impl ComponentType for In {
    type Lower = [ValRaw; 16];
    const ABI: CanonicalAbiInfo = ABI;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl ComponentNamedList for In {}

// SAFETY: fills every slot of `dst` before the values are written over them.
unsafe impl Lower for In {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; 16]>,
    ) -> Result<()> {
        let slots = zeroed(dst);
        let abi = cx.types.canonical_abi(&ty);
        if abi.flat_count(slots.len()).is_some() {
            return lower(cx, ty, &self.0, To::Flat(slots));
        }
        // More than fit core values are passed in memory, where wasmtime would allocate by a size that is fixed by our
        // type; the guest frees exactly what its own types need.
        let (align, size) = (abi.align32, abi.size32 as usize);
        let start = cx.realloc(0, 0, align, size)?;
        lower(cx, ty, &self.0, To::Memory(start))?;
        slots[0].write(ValRaw::i64(start as i64));
        Ok(())
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType, offset: usize) -> Result<()> {
        lower(cx, ty, &self.0, To::Memory(offset))
    }
}

// SAFETY: see the first.
unsafe impl<const N: usize> ComponentType for Back<N> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = ABI;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl<const N: usize> ComponentNamedList for Back<N> {}

// SAFETY: fills every slot of `dst` before the values are written over them.
unsafe impl<const N: usize> Lower for Back<N> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; N]>,
    ) -> Result<()> {
        lower(cx, ty, &self.0, To::Flat(zeroed(dst)))
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType, offset: usize) -> Result<()> {
        lower(cx, ty, &self.0, To::Memory(offset))
    }
}

/// The slots of `dst`, all zero.
fn zeroed<const N: usize>(dst: &mut MaybeUninit<[ValRaw; N]>) -> &mut [MaybeUninit<ValRaw>] {
    // SAFETY: an array of values that may be uninitialised is the same as one that is.
    let slots: &mut [MaybeUninit<ValRaw>; N] = unsafe { &mut *std::ptr::from_mut(dst).cast() };
    slots.fill(MaybeUninit::new(ValRaw::u64(0)));
    slots
}
