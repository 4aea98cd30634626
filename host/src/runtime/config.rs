//! `wasi:config@0.2.0-draft`: what the manifest sets for a component.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::config::store;
use super::guest::Guest;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/deps/config",
        world: "imports",
        imports: { default: trappable },
    });
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

impl store::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        let found = self.about.settings.binary_search_by(|(name, _)| name.as_str().cmp(&key));
        Ok(Ok(found.ok().map(|at| self.about.settings[at].1.clone())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.about.settings.to_vec()))
    }
}
