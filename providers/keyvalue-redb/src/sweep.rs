//! What is over leaves the file also when nobody writes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    file::File,
    tables::is_due,
    writer::{Change, Write},
};

/// Has the writer remove what is over, again and again, as long as there is a backend.
pub(crate) async fn sweep(file: Weak<File>, writes: mpsc::WeakSender<Write>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        while let (Some(file), Some(writes)) = (file.upgrade(), writes.upgrade()) {
            if !sweep_some(file, writes).await {
                break;
            }
        }
        if writes.strong_count() == 0 {
            return;
        }
    }
}

/// Whether there was something, and it could be removed.
async fn sweep_some(file: Arc<File>, writes: mpsc::Sender<Write>) -> bool {
    // A transaction waits for the disk, also one that changes nothing.
    let due = tokio::task::spawn_blocking(move || is_due(&*file.database()?)).await;
    if !matches!(due, Ok(Ok(true))) {
        return false;
    }
    let (done, outcome) = oneshot::channel();
    let sweep = Write { bucket: String::new(), change: Change::Sweep, done };
    writes.send(sweep).await.is_ok() && matches!(outcome.await, Ok(Ok(_)))
}
