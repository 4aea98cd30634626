//! `wasmcloud:secrets@0.1.0-draft`: the secrets that the manifest grants a component. A guest that asks again after a
//! secret was replaced gets the new one.

use lattice::model::secret::SecretValue;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasmcloud::secrets::{reveal, store};
use super::guest::Guest;
use crate::secrets::SecretError;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/secrets",
        world: "imports",
        imports: { default: trappable },
        with: { "wasmcloud:secrets/store.secret": super::Secret },
    });
}

/// What a guest holds as `secret`.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Secret(SecretValue);

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    reveal::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

impl From<SecretError> for store::SecretsError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Missing { .. } => Self::NotFound,
            SecretError::File { .. } | SecretError::Early(_) => Self::Io(error.to_string()),
            _ => Self::Upstream(error.to_string()),
        }
    }
}

impl store::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Resource<Secret>, store::SecretsError>> {
        match self.about.secrets.get(&key) {
            Some(Ok(value)) => Ok(Ok(self.table.push(Secret(value))?)),
            Some(Err(error)) => {
                tracing::warn!(unit = %self.about.unit, %error, "a component does not get a secret");
                Ok(Err(error.into()))
            }
            None => Ok(Err(store::SecretsError::NotFound)),
        }
    }
}

impl store::HostSecret for Guest {
    fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl reveal::Host for Guest {
    fn reveal(&mut self, secret: Resource<Secret>) -> wasmtime::Result<store::SecretValue> {
        Ok(match &self.table.get(&secret)?.0 {
            SecretValue::Text(text) => store::SecretValue::String(text.clone()),
            SecretValue::Bytes(bytes) => store::SecretValue::Bytes(bytes.clone()),
        })
    }
}
