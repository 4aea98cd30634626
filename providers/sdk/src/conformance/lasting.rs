//! What is written now and looked for later: when the provider's process was killed, or its backend was away.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Check, Subject};

/// Things with numbers that are written by a capability. One that was acknowledged must be there from then on.
#[async_trait]
pub trait Lasting: Send + Sync {
    /// Makes the place for them, where they need one.
    async fn prepare(&self) -> Check {
        Ok(())
    }
    /// Writes the one of this number. When this returns well, it counts as acknowledged.
    async fn write(&self, number: u32) -> Check;
    /// Whether the one of this number is there, as it was written.
    async fn has(&self, number: u32) -> Result<bool, String>;
    /// Whether they are there for longer than they take to arrive.
    fn keeps(&self) -> bool {
        true
    }
    /// Leaves nothing behind, as far as that can be done.
    async fn clear(&self);
}

/// The value of a number.
pub(super) fn value(number: u32) -> Bytes {
    Bytes::from(format!("the value of {number}"))
}

#[async_trait]
impl Lasting for Subject {
    async fn write(&self, number: u32) -> Check {
        self.set(&number.to_string(), value(number)).await
    }

    async fn has(&self, number: u32) -> Result<bool, String> {
        Ok(self.get(&number.to_string()).await? == Some(value(number)))
    }

    async fn clear(&self) {
        Subject::clear(self).await;
    }
}
