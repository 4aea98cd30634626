//! The two ways through the lens: calling an export, and being called as an import.

use std::{pin::Pin, sync::Arc};

use lattice::wire::value::FunctionShape;
use wasmtime::{
    Result, Store, StoreContextMut,
    component::{Accessor, Func, LinkerInstance, TypedFunc},
};

use super::{
    Intake, Lifted,
    abi::{Back, In, Out},
};

/// Core values that a result is passed in at the most; beyond that it is in memory.
const MAX_FLAT_RESULTS: u64 = 1;

/// Calls `$call` with the number of core values of a result as a type.
macro_rules! by_results {
    (@ $road:expr, $call:ident, $args:tt, $($n:literal)*) => {
        match $road.results {
            // With concurrency a function may hand out its result in up to 16 core values, or in one place in memory, as
            // it was built: wasmtime goes by the number of values in our type, which therefore must be exact.
            $($n if $road.concurrent => by_results!(# $call, $n, $args),)*
            _ if $road.concurrent => by_results!(# $call, 17, $args),
            0..=MAX_FLAT_RESULTS => by_results!(# $call, 1, $args),
            _ => by_results!(# $call, 2, $args),
        }
    };
    (# $call:ident, $n:literal, ($($arg:ident),*)) => {
        $call::<_, $n>($($arg),*).await
    };
    ($road:expr, $call:ident, $($arg:ident),*) => {
        by_results!(@ $road, $call, ($($arg),*), 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    };
}

/// How an export is called.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct ExportRoad {
    /// Core values of the result.
    results: u64,
    /// Whether it is on an engine with the component model's concurrency.
    concurrent: bool,
}

impl ExportRoad {
    /// For a function of these types; `concurrent`: on an engine with the component model's concurrency.
    pub(in super::super) fn of(function: &FunctionShape, concurrent: bool) -> Self {
        let results = function.result.as_ref().map_or(0, |result| result.measures().flat);
        Self { results, concurrent }
    }

    /// Calls `func`, whose types are those that this was made of.
    pub(in super::super) async fn call<T: Send>(
        self,
        store: &mut Store<T>,
        func: Func,
        intake: Intake,
    ) -> Result<Lifted> {
        by_results!(self, call, store, func, intake)
    }

    /// The same for one of the calls that are under way in an instance at the same time.
    pub(in super::super) async fn call_concurrent<T: Send + 'static>(
        self,
        accessor: &Accessor<T>,
        func: Func,
        intake: Intake,
    ) -> Result<Lifted> {
        by_results!(self, call_concurrent, accessor, func, intake)
    }
}

fn typed<const RESULTS: usize>(func: Func) -> TypedFunc<In, Out<RESULTS>> {
    // SAFETY: what is skipped is the comparison of types, which for these accepts every function. `In` and `RESULTS` fit
    // the function's own types: 16 core values hold all parameters that are passed in core values (those beyond the
    // function's own are not read), and more results than a function hands out in core values stand for memory.
    #[expect(unsafe_code, reason = "wasmtime's interface")]
    unsafe {
        TypedFunc::new_unchecked(func)
    }
}

async fn call<T: Send, const RESULTS: usize>(store: &mut Store<T>, func: Func, intake: Intake) -> Result<Lifted> {
    Ok(typed::<RESULTS>(func).call_async(store, In(intake)).await?.0)
}

async fn call_concurrent<T: Send + 'static, const RESULTS: usize>(
    accessor: &Accessor<T>,
    func: Func,
    intake: Intake,
) -> Result<Lifted> {
    Ok(typed::<RESULTS>(func).call_concurrent(accessor, In(intake)).await?.0)
}

/// Calls `$define` with the numbers of core values as types: wasmtime fixes by type how many a parameter list takes.
macro_rules! by_params {
    ($shape:ident, $define:ident, $($arg:ident),*) => {
        by_params!(@ $shape, $define, ($($arg),*), 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    };
    (@ $shape:ident, $define:ident, $args:tt, $($n:literal)*) => {{
        let in_values = $shape.result.as_ref().is_some_and(|result| result.measures().flat == MAX_FLAT_RESULTS);
        match $shape.params_measures().flat {
            $($n if in_values => by_params!(# $define, $n, 1, $args),
            $n => by_params!(# $define, $n, 0, $args),)*
            // In memory: no core value is looked at.
            _ if in_values => by_params!(# $define, 0, 1, $args),
            _ => by_params!(# $define, 0, 0, $args),
        }
    }};
    (# $define:ident, $params:literal, $results:literal, ($($arg:ident),*)) => {
        $define::<_, $params, $results>($($arg),*)
    };
}

/// What an import does: the arguments to the result.
type Import<T> = dyn for<'a> Fn(StoreContextMut<'a, T>, Lifted) -> Box<dyn Future<Output = Result<Intake>> + Send + 'a>
    + Send
    + Sync;

/// Defines the import `name`, whose types are those of `shape`.
pub(in super::super) fn define<T: Send + 'static>(
    into: &mut LinkerInstance<'_, T>,
    name: &str,
    shape: &FunctionShape,
    import: impl for<'a> Fn(StoreContextMut<'a, T>, Lifted) -> Box<dyn Future<Output = Result<Intake>> + Send + 'a>
    + Send
    + Sync
    + 'static,
) -> Result<()> {
    let import: Arc<Import<T>> = Arc::new(import);
    by_params!(shape, define_one, into, name, import)
}

/// What an import does whose caller may do something else meanwhile.
type ConcurrentImport<T> =
    dyn for<'a> Fn(&'a Accessor<T>, Lifted) -> Pin<Box<dyn Future<Output = Result<Intake>> + Send + 'a>> + Send + Sync;

/// Defines the import `name` of an `async func`, whose types are those of `shape`.
pub(in super::super) fn define_concurrent<T: Send + 'static>(
    into: &mut LinkerInstance<'_, T>,
    name: &str,
    shape: &FunctionShape,
    import: impl for<'a> Fn(&'a Accessor<T>, Lifted) -> Pin<Box<dyn Future<Output = Result<Intake>> + Send + 'a>>
    + Send
    + Sync
    + 'static,
) -> Result<()> {
    let import: Arc<ConcurrentImport<T>> = Arc::new(import);
    by_params!(shape, define_one_concurrent, into, name, import)
}

fn define_one_concurrent<T: Send + 'static, const PARAMS: usize, const RESULTS: usize>(
    into: &mut LinkerInstance<'_, T>,
    name: &str,
    import: Arc<ConcurrentImport<T>>,
) -> Result<()> {
    into.func_wrap_concurrent(name, move |accessor: &Accessor<T>, args: Out<PARAMS>| {
        let import = import.clone();
        Box::pin(async move { import(accessor, args.0).await.map(Back::<RESULTS>) })
    })
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
