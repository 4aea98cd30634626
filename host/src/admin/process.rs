//! What the process takes of its machine, by the names that all programs have for it.

use std::{
    fmt, fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{encoding::NoLabelSet, metrics::MetricType};

use super::collect::About;

/// Tells of this process, which began at `began`. What the kernel does not say is left out.
pub(super) fn tell(began: Instant, about: &mut About<'_>) -> fmt::Result {
    if let Some(seconds) = cpu_seconds() {
        about(
            "process_cpu_seconds",
            "Time of processors, in the program and the kernel",
            MetricType::Counter,
            &|metric| metric.encode_counter::<NoLabelSet, f64, f64>(&seconds, None),
        )?;
    }
    if let Some(bytes) = resident_bytes() {
        about("process_resident_memory_bytes", "Memory", MetricType::Gauge, &|metric| metric.encode_gauge(&bytes))?;
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        let open = files.count() as u64;
        about("process_open_fds", "Open files and connections", MetricType::Gauge, &|metric| {
            metric.encode_gauge(&open)
        })?;
    }
    let start = SystemTime::now().checked_sub(began.elapsed()).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let start = start.map_or(0.0, |since| since.as_secs_f64());
    about("process_start_time_seconds", "When it started, since 1970", MetricType::Gauge, &|metric| {
        metric.encode_gauge(&start)
    })
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may have spaces; after it comes the third field.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    Some((ticks(14)? + ticks(15)?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    #[test]
    fn the_kernel_says_what_this_process_takes() {
        assert!(super::resident_bytes().unwrap() > 1 << 20);
        assert!(super::cpu_seconds().unwrap() >= 0.0);
    }
}
