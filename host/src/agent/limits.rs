//! What a provider process may take of this machine.
//!
//! How many files it may have open and on which processors it runs is the kernel's to see to, and holds for what it starts as well.
//! Its memory is looked at ten times a second, together with that of its children: a process that has more is killed, and started
//! again as after any other end. A core dump would have its secrets in it, so there is none.

use std::{fs, path::Path, time::Duration};

use lattice::model::app::ProcessLimits;
use rustix::{
    process::{Pid, Resource, Rlimit, prlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use tokio::time::{MissedTickBehavior, interval};

/// Between two looks at the memory of a process.
const LOOK: Duration = Duration::from_millis(100);
/// Children and children's children that are looked at, beside the process itself.
const FAMILY: usize = 256;

/// Limits a process that was just started; what it does before that is not held against it.
pub(super) fn begin(process: u32, limits: ProcessLimits) -> std::io::Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(pid, Resource::Core, none)?;
    if let Some(files) = limits.files {
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })?;
    }
    if let Some(cpus) = limits.cpus {
        sched_setaffinity(pid, &some_of(&sched_getaffinity(pid)?, cpus, process as usize))?;
    }
    Ok(())
}

/// So many processors of `all`. Other processes get others: where one begins depends on its number.
fn some_of(all: &CpuSet, cpus: u32, start: usize) -> CpuSet {
    let all: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let mut some = CpuSet::new();
    for cpu in all.iter().cycle().skip(start % all.len().max(1)).take(all.len().min(cpus as usize)) {
        some.set(*cpu);
    }
    some
}

/// Waits until a process has more memory than it may, and says so. Cancel-safe: it only looks.
pub(super) async fn exceeded(process: Option<u32>, limits: ProcessLimits) -> String {
    let (Some(process), Some(limit)) = (process, limits.memory_bytes) else { return std::future::pending().await };
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let found = memory(process);
        if found > limit {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            return format!("it had {} MiB of memory, and {} MiB is its limit", mib(found), mib(limit));
        }
    }
}

/// What a process and its children have in memory, in bytes. What they share counts for each.
fn memory(process: u32) -> u64 {
    let page = rustix::param::page_size() as u64;
    let mut family = vec![process];
    let (mut next, mut pages) = (0, 0);
    while let Some(process) = family.get(next) {
        let folder = format!("/proc/{process}");
        let statm = fs::read_to_string(Path::new(&folder).join("statm")).unwrap_or_default();
        pages += statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
        let room = FAMILY.saturating_sub(family.len());
        family.extend(children(&folder).into_iter().take(room));
        next += 1;
    }
    pages * page
}

fn children(folder: &str) -> Vec<u32> {
    let tasks = fs::read_dir(Path::new(folder).join("task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_taken_in_turn() {
        let mut all = CpuSet::new();
        [1, 4, 5].into_iter().for_each(|cpu| all.set(cpu));
        let some = |cpus, start| {
            let some = some_of(&all, cpus, start);
            (0..8).filter(|cpu| some.is_set(*cpu)).collect::<Vec<_>>()
        };
        assert_eq!(some(1, 0), [1]);
        assert_eq!(some(2, 1), [4, 5]);
        assert_eq!(some(2, 5), [1, 5]);
        assert_eq!(some(9, 3), [1, 4, 5]);
    }

    #[tokio::test]
    async fn a_process_with_too_much_memory_is_told_with_its_children() {
        let own = std::process::id();
        let limits = |memory_bytes| ProcessLimits { memory_bytes, ..ProcessLimits::default() };
        let told = exceeded(Some(own), limits(Some(1 << 20))).await;
        assert!(told.ends_with(" MiB of memory, and 1 MiB is its limit"), "{told}");
        for (process, limit) in [(Some(own), None), (None, Some(0)), (Some(own), Some(1 << 40))] {
            let waiting = tokio::time::timeout(Duration::from_millis(250), exceeded(process, limits(limit))).await;
            assert!(waiting.is_err(), "{waiting:?}");
        }
        let alone = memory(own);
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        // It has memory when it has become another program.
        let both = loop {
            let both = memory(own);
            if both > alone {
                break both;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(both < alone + (512 << 20));
        begin(child.id(), ProcessLimits { files: Some(17), cpus: Some(1), memory_bytes: None }).unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert_eq!(sched_getaffinity(pid).unwrap().count(), 1);
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let line = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert!(line("Max open files").starts_with("17 "), "{limits}");
        assert!(line("Max core file size").starts_with("0 "), "{limits}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
