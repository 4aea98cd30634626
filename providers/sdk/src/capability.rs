//! From a trait to the wire and back.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::CallHandler,
    wire::{CallError, Interface},
};

use crate::keyvalue::{self, KeyValue};

/// What a provider serves.
#[derive(Clone)]
pub enum Capability {
    KeyValue(Arc<dyn KeyValue>),
}

impl Capability {
    /// A key-value backend, with the limits that all of them share put in front of it.
    pub fn key_value(backend: impl KeyValue) -> Self {
        Self::KeyValue(Arc::new(keyvalue::Limited(backend)))
    }

    /// What answers calls from the lattice.
    pub fn handler(&self) -> Arc<dyn CallHandler> {
        match self {
            Self::KeyValue(backend) => Arc::new(keyvalue::KeyValueHandler(backend.clone())),
        }
    }

    /// The interface that it answers over the lattice.
    pub fn interface(&self) -> Interface {
        match self {
            Self::KeyValue(_) => keyvalue::interface(),
        }
    }
}

/// Sends a call to wherever a link leads.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    /// The reply's payload. Arguments and reply are in postcard.
    async fn call(&self, interface: &Interface, function: &'static str, payload: Bytes) -> Result<Bytes, CallError>;
}

/// Declares a capability: its trait, `...Handler` that serves an implementation over the lattice, and `...Remote`
/// that is the trait again on the caller's side. The names of functions are those of the WIT in `wit/`.
macro_rules! capability {
    (
        $(#[$doc:meta])*
        trait $Trait:ident, handler $Handler:ident, remote $Remote:ident, interface $interface:literal, error $Error:ty {
            $($(#[$fn_doc:meta])* $wit:literal fn $name:ident($($arg:ident: $arg_type:ty),*) -> $output:ty;)*
        }
    ) => {
        $(#[$doc])*
        #[async_trait::async_trait]
        pub trait $Trait: Send + Sync + 'static {
            $($(#[$fn_doc])* async fn $name(&self, $($arg: $arg_type),*) -> Result<$output, $Error>;)*
        }

        /// The interface as it is called over the lattice.
        pub fn interface() -> lattice::wire::Interface {
            static INTERFACE: std::sync::LazyLock<lattice::wire::Interface> = std::sync::LazyLock::new(|| {
                $interface.parse().expect("a literal interface")
            });
            INTERFACE.clone()
        }

        /// The functions of the interface, by their WIT names.
        pub const FUNCTIONS: &[&str] = &[$($wit),*];

        /// Answers calls from the lattice with an implementation of the trait.
        pub struct $Handler(pub std::sync::Arc<dyn $Trait>);

        #[async_trait::async_trait]
        impl lattice::bus::CallHandler for $Handler {
            async fn call(&self, head: lattice::wire::CallHead, payload: bytes::Bytes) -> Result<bytes::Bytes, lattice::wire::CallError> {
                let wrong = |e: lattice::wire::CodecError| lattice::wire::CallError::BadMessage(e.to_string());
                if head.interface != interface() {
                    return Err(lattice::wire::CallError::NotServed(format!("{}; this provider serves {}", head.interface, interface())));
                }
                match head.function.as_str() {
                    $($wit => {
                        let ($($arg,)*): ($($arg_type,)*) = lattice::wire::decode(head.content_type, &payload).map_err(wrong)?;
                        let result = self.0.$name($($arg),*).await;
                        lattice::wire::encode(head.content_type, &result).map_err(wrong)
                    })*
                    other => Err(lattice::wire::CallError::NotServed(format!("{}#{other}", head.interface))),
                }
            }
        }

        /// The capability, wherever a [`Caller`](crate::Caller) finds it.
        pub struct $Remote(pub std::sync::Arc<dyn crate::Caller>);

        #[async_trait::async_trait]
        impl $Trait for $Remote {
            $(async fn $name(&self, $($arg: $arg_type),*) -> Result<$output, $Error> {
                use lattice::wire::{ContentType::Postcard, decode, encode};
                let payload = encode(Postcard, &($($arg,)*)).map_err(|e| <$Error>::from(lattice::wire::CallError::from(e)))?;
                let reply = self.0.call(&interface(), $wit, payload).await?;
                decode::<Result<$output, $Error>>(Postcard, &reply).map_err(lattice::wire::CallError::from)?
            })*
        }
    };
}
