//! The server processes of one store: started, counted and ended.
//!
//! # Invariants
//! - Every process that is ended was started here.
//! - Ports are free and below the ephemeral ones.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{Stat, all_processes};
use rand::RngExt as _;
use tempfile::TempDir;

const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// How long a server may take to end.
const LAST: Duration = Duration::from_secs(30);

/// The processes of a store, and the folder of everything that they store.
pub(crate) struct Servers {
    folder: TempDir,
    children: Vec<Child>,
    /// The processes whose time counts, with their children.
    counted: BTreeSet<i32>,
    /// The folders that count as stored, one for each region.
    stores: Vec<PathBuf>,
}

impl Servers {
    pub(crate) fn new() -> anyhow::Result<Servers> {
        let folder = tempfile::Builder::new().prefix("meridian-peers-").tempdir()?;
        Ok(Servers { folder, children: Vec::new(), counted: BTreeSet::new(), stores: Vec::new() })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of one region's store, which counts as stored.
    pub(crate) fn store(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        let store = self.folder.path().join(name);
        fs::create_dir_all(&store)?;
        self.stores.push(store.clone());
        Ok(store)
    }

    /// Starts a process; its output goes to the file `log`.
    pub(crate) fn start(&mut self, mut command: Command) -> anyhow::Result<i32> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pid = i32::try_from(child.id())?;
        self.children.push(child);
        Ok(pid)
    }

    /// Starts a server whose time counts.
    pub(crate) fn serve(&mut self, command: Command) -> anyhow::Result<()> {
        let pid = self.start(command)?;
        self.count(pid);
        Ok(())
    }

    pub(crate) fn count(&mut self, pid: i32) {
        self.counted.insert(pid);
    }

    /// The processor time (s) of all counted processes, and of their children that ended.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let all: Vec<Stat> = all_processes()?.filter_map(|process| process.ok()?.stat().ok()).collect();
        let mut counted = self.counted.clone();
        let mut known = 0;
        while counted.len() > known {
            known = counted.len();
            counted.extend(
                all.iter().filter(|stat| counted.contains(&stat.ppid)).map(|stat| stat.pid).collect::<Vec<_>>(),
            );
        }
        let own = all.iter().filter(|stat| counted.contains(&stat.pid));
        let ticks: i64 = own.map(|stat| (stat.utime + stat.stime) as i64 + stat.cutime + stat.cstime).sum();
        Ok(ticks as f64 / procfs::ticks_per_second() as f64)
    }

    /// The bytes that all stores occupy.
    pub(crate) fn stored(&self) -> u64 {
        self.stores.iter().map(|store| occupied(store)).sum()
    }

    /// The last lines that the processes logged, for an error.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Files that end meanwhile do not count.
fn occupied(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let each = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => occupied(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    each.sum()
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &self.children {
            if let Ok(pid) = i32::try_from(child.id()) {
                // An error means that it has ended.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        let until = Instant::now() + LAST;
        for child in &mut self.children {
            while child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first of `count` ports in a row that are free on all loopback addresses that a store uses here.
pub(crate) fn free_ports(count: u16) -> anyhow::Result<u16> {
    let addresses = ["127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3"];
    for _ in 0..1_000 {
        let first = rand::rng().random_range(PORTS);
        let is_free = |port| addresses.iter().all(|address| TcpListener::bind((*address, port)).is_ok());
        if (first..first + count).all(is_free) {
            return Ok(first);
        }
    }
    anyhow::bail!("no {count} free ports in a row")
}
