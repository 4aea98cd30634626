//! The two ways through the lens: calling an export, and being called as an import.

use std::sync::Arc;

use lattice::wire::value::FunctionShape;
use wasmtime::{
    Result, Store, StoreContextMut,
    component::{Func, LinkerInstance, TypedFunc},
};

use super::{
    Held, Lifted,
    abi::{Back, In, Out},
};

/// Core values that parameters, and results, are passed in at the most; beyond that they are in memory.
const MAX_FLAT_PARAMS: u64 = 16;
const MAX_FLAT_RESULTS: u64 = 1;

/// How an export takes its parameters and gives its result.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct ExportRoad {
    params: Params,
    result_in_memory: bool,
}

#[derive(Debug, Clone, Copy)]
enum Params {
    Flat,
    /// In memory, in at most so many bytes.
    Upto512,
    Upto8K,
    Upto64K,
}

impl ExportRoad {
    pub(in super::super) fn of(function: &FunctionShape) -> Result<Self, String> {
        let measures = function.params_measures();
        let params = match measures.size {
            _ if measures.flat <= MAX_FLAT_PARAMS => Params::Flat,
            0..=512 => Params::Upto512,
            0..=0x2000 => Params::Upto8K,
            0..=0x1_0000 => Params::Upto64K,
            bytes => return Err(format!("its parameters take {bytes} bytes of memory; the limit is 65536")),
        };
        let result = function.result.as_ref().map_or(0, |result| result.measures().flat);
        Ok(Self { params, result_in_memory: result > MAX_FLAT_RESULTS })
    }

    /// Calls `func`, whose types are those of the shape that this was made of.
    pub(in super::super) async fn call<T: Send>(
        self,
        store: &mut Store<T>,
        func: Func,
        bytes: &[u8],
        held: &Held,
    ) -> Result<Lifted> {
        match (self.params, self.result_in_memory) {
            (Params::Flat, false) => call::<T, 16, 0, 1>(store, func, bytes, held).await,
            (Params::Flat, true) => call::<T, 16, 0, 2>(store, func, bytes, held).await,
            (Params::Upto512, false) => call::<T, 17, 512, 1>(store, func, bytes, held).await,
            (Params::Upto512, true) => call::<T, 17, 512, 2>(store, func, bytes, held).await,
            (Params::Upto8K, false) => call::<T, 17, 0x2000, 1>(store, func, bytes, held).await,
            (Params::Upto8K, true) => call::<T, 17, 0x2000, 2>(store, func, bytes, held).await,
            (Params::Upto64K, false) => call::<T, 17, 0x1_0000, 1>(store, func, bytes, held).await,
            (Params::Upto64K, true) => call::<T, 17, 0x1_0000, 2>(store, func, bytes, held).await,
        }
    }
}

async fn call<T: Send, const PARAMS: usize, const SIZE: u32, const RESULTS: usize>(
    store: &mut Store<T>,
    func: Func,
    bytes: &[u8],
    held: &Held,
) -> Result<Lifted> {
    // SAFETY: what is skipped is the comparison of types, which for these accepts every function. `PARAMS`, `SIZE` and
    // `RESULTS` were chosen by the function's own types: 16 core values hold all parameters that are passed in core
    // values (those beyond the function's own are not read), 17 stand for memory, and so for the results.
    #[expect(unsafe_code, reason = "wasmtime's interface")]
    let func = unsafe { TypedFunc::<In<'_, PARAMS, SIZE>, Out<RESULTS>>::new_unchecked(func) };
    Ok(func.call_async(store, In { bytes, held }).await?.0)
}

/// What an import does: the arguments to the result, both in bytes.
type Import<T> = dyn for<'a> Fn(StoreContextMut<'a, T>, Lifted) -> Box<dyn Future<Output = Result<Vec<u8>>> + Send + 'a>
    + Send
    + Sync;

/// Defines the import `name`, whose types are those of `shape`.
pub(in super::super) fn define<T: Send + 'static>(
    into: &mut LinkerInstance<'_, T>,
    name: &str,
    shape: &FunctionShape,
    import: impl for<'a> Fn(StoreContextMut<'a, T>, Lifted) -> Box<dyn Future<Output = Result<Vec<u8>>> + Send + 'a>
    + Send
    + Sync
    + 'static,
) -> Result<()> {
    let import: Arc<Import<T>> = Arc::new(import);
    let in_values = shape.result.as_ref().is_some_and(|result| result.measures().flat == MAX_FLAT_RESULTS);
    // wasmtime fixes by type how many core values a parameter list takes.
    macro_rules! by_params {
        ($($n:literal)*) => {
            match shape.params_measures().flat {
                $($n if in_values => define_one::<T, $n, 1>(into, name, import),
                $n => define_one::<T, $n, 0>(into, name, import),)*
                // In memory: no core value is looked at.
                _ if in_values => define_one::<T, 0, 1>(into, name, import),
                _ => define_one::<T, 0, 0>(into, name, import),
            }
        };
    }
    by_params!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

fn define_one<T: Send + 'static, const PARAMS: usize, const RESULTS: usize>(
    into: &mut LinkerInstance<'_, T>,
    name: &str,
    import: Arc<Import<T>>,
) -> Result<()> {
    into.func_wrap_async(name, move |store: StoreContextMut<'_, T>, args: Out<PARAMS>| {
        let work = import(store, args.0);
        Box::new(async move { Box::into_pin(work).await.map(Back::<RESULTS>) })
    })
}
