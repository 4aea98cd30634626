//! Which engine a component needs, by what its binary contains.

use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use super::engine::EngineKind;

/// The engine for the component `bytes`. What is no component at all is left for the compiler to explain.
pub(crate) fn engine_for(bytes: &[u8]) -> EngineKind {
    let all = WasmFeatures::all();
    if names_wasi_3(bytes) || (!is_valid(bytes, all.difference(asynchronous())) && is_valid(bytes, all)) {
        EngineKind::Concurrent
    } else {
        EngineKind::Plain
    }
}

/// Everything that only the second engine has.
fn asynchronous() -> WasmFeatures {
    WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS
        | WasmFeatures::CM_ERROR_CONTEXT
        | WasmFeatures::CM_THREADING
}

/// Whether everything but the functions' bodies is valid with `features`: no body uses what is in question here, and
/// they are most of the bytes.
fn is_valid(bytes: &[u8], features: WasmFeatures) -> bool {
    let mut validator = Validator::new_with_features(features);
    Parser::new(0).parse_all(bytes).all(|payload| payload.is_ok_and(|payload| validator.payload(&payload).is_ok()))
}

/// Whether an interface of WASI 0.3 is imported or exported. Those of its functions that are not async pass for 0.2,
/// and only the second engine has them.
fn names_wasi_3(bytes: &[u8]) -> bool {
    let is_wasi_3 = |name: &str| name.starts_with("wasi:") && name.contains("@0.3.");
    Parser::new(0).parse_all(bytes).map_while(Result::ok).any(|payload| match payload {
        Payload::ComponentImportSection(section) => {
            section.into_iter().flatten().any(|import| is_wasi_3(import.name.name))
        }
        Payload::ComponentExportSection(section) => {
            section.into_iter().flatten().any(|export| is_wasi_3(export.name.name))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(text: &str) -> EngineKind {
        engine_for(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn only_what_needs_it_gets_the_second_engine() {
        assert_eq!(needs("(component)"), EngineKind::Plain);
        assert_eq!(needs(r#"(component (import "wasi:cli/environment@0.2.3" (instance)))"#), EngineKind::Plain);
        assert_eq!(needs(r#"(component (import "acme:a/b@0.3.0" (instance)))"#), EngineKind::Plain);
        assert_eq!(needs(r#"(component (import "wasi:random/random@0.3.0" (instance)))"#), EngineKind::Concurrent);
        assert_eq!(needs(r#"(component (import "f" (func async)))"#), EngineKind::Concurrent);
        assert_eq!(needs("(component (type (stream u8)))"), EngineKind::Concurrent);
        assert_eq!(needs("(component (component (type (future))))"), EngineKind::Concurrent);
        assert_eq!(needs("(component (core func (canon waitable-set.new)))"), EngineKind::Concurrent);
    }

    #[test]
    fn rubbish_is_left_to_the_compiler() {
        assert_eq!(engine_for(b"rubbish"), EngineKind::Plain);
        assert_eq!(engine_for(b""), EngineKind::Plain);
    }
}
