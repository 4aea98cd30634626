//! What the kernel says about processes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

/// User and system time that these processes and their children have used, in seconds.
pub(crate) fn cpu_seconds(processes: &[u32]) -> Result<f64> {
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut ticks = 0;
    let mut left = processes.to_vec();
    while let Some(id) = left.pop() {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id} is gone"))?;
        // The name, in parentheses, may contain anything.
        let numbers = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let field = |n: usize| numbers.split_whitespace().nth(n).and_then(|text| text.parse::<u64>().ok());
        ticks += field(11).context("no user time")? + field(12).context("no system time")?;
        left.extend(children(id));
    }
    Ok(ticks as f64 / per_second)
}

fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Memory of a process, in bytes, each page divided by the number of processes that have it (PSS).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) all: f64,
    /// Pages of files with compiled components.
    pub(crate) code: f64,
    /// Pages that belong to no file: heap, stacks, instances.
    pub(crate) anonymous: f64,
}

/// The memory of a process now.
pub(crate) fn memory(id: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps")).with_context(|| format!("cannot read smaps of {id}"))?;
    Ok(sum(&text))
}

fn sum(smaps: &str) -> Memory {
    let mut by_kind: BTreeMap<&str, f64> = BTreeMap::new();
    let mut kind = "other";
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Pss:") => {
                let kilobytes = words.next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
                *by_kind.entry(kind).or_default() += kilobytes * 1024.0;
            }
            // The first line of a mapping: addresses, rights, offset, device, inode, path.
            Some(first) if !first.ends_with(':') => {
                kind = match words.nth(4) {
                    Some(path) if path.ends_with(".code") => "code",
                    Some(path) if path.starts_with('/') => "other",
                    _ => "anonymous",
                };
            }
            _ => {}
        }
    }
    let of = |kind| by_kind.get(kind).copied().unwrap_or(0.0);
    Memory { all: by_kind.values().sum(), code: of("code"), anonymous: of("anonymous") }
}

/// Memory of a process that is in RAM, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) now: f64,
    /// The most since the process began, or since it was forgotten.
    pub(crate) peak: f64,
}

/// The resident memory of a process.
pub(crate) fn resident(id: u32) -> Result<Resident> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).with_context(|| format!("process {id} is gone"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|text| text.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0).with_context(|| format!("no {name} of process {id}"))
    };
    Ok(Resident { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// From now on the peak of a process is that of what follows.
pub(crate) fn forget_peak(id: u32) -> Result<()> {
    let file = format!("/proc/{id}/clear_refs");
    fs::write(&file, "5").with_context(|| format!("cannot write {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_by_kind() {
        let text = "55d0-55d1 r-xp 00000000 fe:00 1 /x/abc.code\nSize: 8 kB\nPss: 4 kB\nPss_Dirty: 4 kB\n\
                    55d2-55d3 rw-p 00000000 00:00 0 \nPss: 2 kB\n55d4-55d5 rw-p 00000000 00:00 0 [heap]\nPss: 1 kB\n\
                    55d6-55d7 r-xp 00000000 fe:00 2 /usr/lib/libc.so\nPss: 8 kB\nVmFlags: rd ex\n";
        let memory = sum(text);
        assert_eq!((memory.all, memory.code, memory.anonymous), (15.0 * 1024.0, 4096.0, 3072.0));
    }
}
