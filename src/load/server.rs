//! The resources that the measured servers used during a run: CPU, memory and disk, as the kernel counts them (Linux).

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::support::deployment;
use api::client::Base;

/// Kernel clock ticks per second as user space sees them: 100 on every Linux architecture.
const TICKS: f64 = 100.0;

/// The processes to measure.
pub(crate) struct Servers(Vec<Process>);

struct Process {
    pid: i32,
    name: String,
    /// The folder of its store, if known.
    data: Option<PathBuf>,
}

/// Counters of all processes at one moment.
pub(crate) struct Sample(Vec<Option<Counters>>);

#[derive(Clone, Copy)]
struct Counters {
    cpu_s: f64,
    written: u64,
    stored: u64,
}

/// The resources that one process used between two moments.
#[derive(Debug, Serialize)]
pub(crate) struct Usage {
    /// Node name, or the process id.
    pub(crate) name: String,
    /// Process id.
    pub(crate) pid: i32,
    /// CPU seconds, user and system.
    pub(crate) cpu_s: f64,
    /// Resident memory at the end.
    pub(crate) rss_bytes: u64,
    /// Largest resident memory since its start.
    pub(crate) peak_rss_bytes: u64,
    /// Bytes that it wrote to disk.
    pub(crate) written_bytes: u64,
    /// Growth of the store on disk; unknown for a process that was given by its id.
    pub(crate) stored_bytes: Option<i64>,
}

impl Servers {
    /// The given processes, and the processes of a deployment that listen at the targets.
    pub(crate) fn find(pids: &[i32], data: &Path, targets: &[Base]) -> Self {
        let mut processes: Vec<Process> =
            pids.iter().map(|pid| Process { pid: *pid, name: pid.to_string(), data: None }).collect();
        // A missing deployment is not an error, because the servers may run on other machines.
        for node in deployment::read(data).unwrap_or_default() {
            let targeted = targets.contains(&Base::from(node.config.listen.public.first()));
            if let Some(pid) = node.pid().filter(|_| targeted) {
                let pid = pid.as_raw();
                processes.retain(|process| process.pid != pid);
                processes.push(Process { pid, name: node.config.name.to_string(), data: Some(node.config.data) });
            }
        }
        Self(processes)
    }

    /// The counters now.
    pub(crate) fn sample(&self) -> Sample {
        Sample(self.0.iter().map(Process::counters).collect())
    }

    /// The resources used since `before`; a process that has ended is left out.
    pub(crate) fn since(&self, before: &Sample) -> Vec<Usage> {
        let usage = |(process, before): (&Process, &Option<Counters>)| {
            let (before, now) = ((*before)?, process.counters()?);
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
            Some(Usage {
                name: process.name.clone(),
                pid: process.pid,
                cpu_s: now.cpu_s - before.cpu_s,
                rss_bytes: field(&status, "VmRSS:")? << 10,
                peak_rss_bytes: field(&status, "VmHWM:")? << 10,
                written_bytes: now.written.saturating_sub(before.written),
                stored_bytes: process.data.as_ref().map(|_| now.stored.cast_signed() - before.stored.cast_signed()),
            })
        };
        self.0.iter().zip(&before.0).filter_map(usage).collect()
    }
}

impl Process {
    fn counters(&self) -> Option<Counters> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The second field is the command in brackets and may hold spaces; utime and stime are fields 14 and 15.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
        // Only processes of the same user are readable.
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid)).unwrap_or_default();
        Some(Counters {
            cpu_s: ticks / TICKS,
            written: field(&io, "write_bytes:").unwrap_or(0),
            stored: self.data.as_deref().map_or(0, disk),
        })
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Bytes that a folder takes on disk: blocks and not lengths, because engines allocate ahead.
fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
