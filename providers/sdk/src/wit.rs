//! What the code made by [`generate!`](crate::generate) stands on.

use std::sync::OnceLock;

pub use async_trait::async_trait;
pub use bytes::Bytes;
use lattice::{
    bus::HandedOut,
    wire::{
        ContentType,
        value::{from_bytes, json, to_bytes},
    },
};
pub use lattice::{
    bus::{CallHandler, Exchange},
    wire::{
        CallError, CallHead, Interface,
        value::{
            FunctionShape, Shape, ValueError, WitType,
            binary::{Reader, put_varint},
        },
    },
};

use crate::Caller;

/// An interface as both sides of a call know it.
pub struct Contract {
    name: &'static str,
    functions: &'static [&'static str],
    /// In the order of `functions`.
    make: fn() -> Vec<FunctionShape>,
    interface: OnceLock<Interface>,
    shapes: OnceLock<Vec<FunctionShape>>,
}

impl Contract {
    /// Of what [`generate!`](crate::generate) has read, so that the name is one and there is a shape for each function.
    pub const fn new(name: &'static str, functions: &'static [&'static str], make: fn() -> Vec<FunctionShape>) -> Self {
        Self { name, functions, make, interface: OnceLock::new(), shapes: OnceLock::new() }
    }

    pub fn interface(&self) -> &Interface {
        #[expect(clippy::expect_used, reason = "the macro has it from a WIT parser")]
        self.interface.get_or_init(|| self.name.parse().expect("an interface's name"))
    }

    pub fn function_shape(&self, function: &str) -> Option<&FunctionShape> {
        let index = self.functions.iter().position(|name| *name == function)?;
        Some(self.shape(index))
    }

    fn shape(&self, index: usize) -> &FunctionShape {
        &self.shapes.get_or_init(self.make)[index]
    }

    /// Refuses a call of another interface, and of a version that this one is none of. A call that names no version takes
    /// what is there.
    pub fn check(&self, head: &CallHead) -> Result<(), CallError> {
        let (own, wanted) = (self.interface(), &head.interface);
        let fits = match wanted.version() {
            None => wanted.unversioned() == own.unversioned(),
            Some(_) => wanted == own || own.satisfies(wanted),
        };
        if fits { Ok(()) } else { Err(CallError::NotServed(format!("{wanted}; this provider serves {own}"))) }
    }

    /// What a call of a function gets that the interface has not.
    pub fn not_served(&self, head: &CallHead) -> CallError {
        CallError::NotServed(format!("{}#{}", head.interface, head.function))
    }

    fn wrong(&self, index: usize, what: &str, content_type: ContentType, error: &ValueError) -> CallError {
        let function = self.functions[index];
        CallError::BadMessage(format!("the {what} of `{function}`, read as {content_type}: {error}"))
    }

    /// The arguments of a call.
    pub fn arguments<A: WitType>(
        &self,
        index: usize,
        content_type: ContentType,
        payload: &[u8],
    ) -> Result<A, CallError> {
        let read = match content_type {
            ContentType::Postcard => from_bytes(payload),
            ContentType::Json => {
                json::arguments_from_json(self.shape(index), payload).and_then(|bytes| from_bytes(&bytes))
            }
        };
        read.map_err(|error| self.wrong(index, "arguments", content_type, &error))
    }

    /// The payload of an answer.
    pub fn reply<R: WitType>(&self, index: usize, content_type: ContentType, returned: &R) -> Result<Bytes, CallError> {
        self.encoded(index, content_type, to_bytes(returned))
    }

    fn encoded(&self, index: usize, content_type: ContentType, bytes: Vec<u8>) -> Result<Bytes, CallError> {
        match content_type {
            ContentType::Postcard => Ok(bytes.into()),
            ContentType::Json => json::result_to_json(self.shape(index).result.as_ref(), &bytes)
                .map(Bytes::from)
                .map_err(|error| self.wrong(index, "result", content_type, &error)),
        }
    }

    /// The same of a result with streams, which are left to whoever asked. In JSON it is all that they carry.
    pub async fn reply_with_streams<R: WitType + Send>(
        &self,
        exchange: &Exchange,
        index: usize,
        content_type: ContentType,
        mut returned: R,
    ) -> Result<Bytes, CallError> {
        if content_type == ContentType::Json {
            exchange.gather_in(&mut returned).await?;
            let bytes = to_bytes(&returned);
            drop(returned);
            return self.encoded(index, content_type, bytes);
        }
        let offers = exchange.hand_out(&mut returned).await?;
        let bytes = to_bytes(&returned);
        offers.into_iter().for_each(HandedOut::leave);
        Ok(bytes.into())
    }

    /// Makes a call with streams in its arguments or its result. What the callee has not taken when it answers is withdrawn.
    pub async fn call_with_streams<A: WitType + Send, R: WitType + Send>(
        &self,
        caller: &dyn Caller,
        exchange: &Exchange,
        index: usize,
        mut arguments: A,
    ) -> Result<R, CallError> {
        let _offers = exchange.hand_out(&mut arguments).await?;
        let payload = to_bytes(&arguments).into();
        drop(arguments);
        let (function, shape) = (self.functions[index], self.shape(index));
        let reply = caller.call(self.interface(), function, Some(shape), payload).await?;
        let mut returned =
            from_bytes(&reply).map_err(|error| self.wrong(index, "result", ContentType::Postcard, &error))?;
        exchange.take_in(&mut returned).await?;
        Ok(returned)
    }

    /// Makes a call.
    pub async fn call<A: WitType, R: WitType>(
        &self,
        caller: &dyn Caller,
        index: usize,
        arguments: &A,
    ) -> Result<R, CallError> {
        let (function, shape) = (self.functions[index], self.shape(index));
        let reply = caller.call(self.interface(), function, Some(shape), to_bytes(arguments).into()).await?;
        from_bytes(&reply).map_err(|error| self.wrong(index, "result", ContentType::Postcard, &error))
    }
}
