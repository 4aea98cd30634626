//! How much memory a process takes.

use std::{pin::pin, time::Duration};

const MIB: u64 = 1024 * 1024;

/// Memory of a process that is in use, in MiB; 0 where that is not told.
fn memory(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096 / MIB
}

/// The most that a process has while `work` runs, in MiB more than before.
pub(super) async fn watched<T>(process: u32, work: impl Future<Output = T>) -> (T, u64) {
    let (before, mut most) = (memory(process), 0);
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(Duration::from_millis(20), &mut work).await {
            Ok(done) => return (done, most),
            Err(_) => most = most.max(memory(process).saturating_sub(before)),
        }
    }
}
