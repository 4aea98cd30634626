//! `wasi:logging`: messages of a guest in the host's log, with its unit beside them.

use lattice::trace;
use tracing::Level as Severity;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::logging::logging::{self, Level};
use super::guest::Guest;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/deps/logging",
        world: "imports",
        imports: { default: trappable },
    });
}

/// What of a message or context is longer than this is left out, in bytes: a guest decides how long they are.
const MAX_TEXT: usize = 16 * 1024;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    // As components import it that were built before it had a version.
    let mut unversioned = linker.instance("wasi:logging/logging")?;
    unversioned.func_wrap("log", |mut store, (level, context, message): (Level, String, String)| {
        logging::Host::log(store.data_mut(), level, context, message)
    })
}

/// At most [`MAX_TEXT`] of it, without what would look like another line of the log.
fn shown(text: &str) -> impl std::fmt::Display + '_ {
    text[..text.floor_char_boundary(MAX_TEXT)].escape_debug()
}

impl logging::Host for Guest {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let unit = &self.about.unit;
        let (context, message) = (shown(&context), shown(&message));
        let trace_id = trace::recorded_id();
        macro_rules! event {
            ($severity:expr, $level:literal) => {
                tracing::event!(target: "guest", $severity, %unit, %context, level = $level, trace_id, "{message}")
            };
        }
        match level {
            Level::Trace => event!(Severity::TRACE, "trace"),
            Level::Debug => event!(Severity::DEBUG, "debug"),
            Level::Info => event!(Severity::INFO, "info"),
            Level::Warn => event!(Severity::WARN, "warn"),
            Level::Error => event!(Severity::ERROR, "error"),
            // tracing has no level above error.
            Level::Critical => event!(Severity::ERROR, "critical"),
        }
        Ok(())
    }
}
