//! How much room the disk of the data has left, so that a node refuses records before it runs out.
//!
//! # The problem
//! A full disk ends a node at its next write, and it does not start again while the disk is full. Regions hold the same data,
//! so all fill at the same hour, and then no region can even erase.
//!
//! # The rule
//! | free | the node |
//! | --- | --- |
//! | less than the reserve | is not ready, and takes no new visits and venues (507) |
//! | less than the size of the ballast; twice that once the ballast is gone | takes no corrections (507) and no entries from peers either, which send them again |
//! | less than a quarter of that size; at a start less than all of it | removes the ballast ([`Ballast`]) |
//!
//! Reads, erasures, orders and expiry go on: the room that is left is for these. Everything is taken again once there is
//! room, without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::sync::watch;

use crate::ballast::Ballast;
use crate::metrics::Metrics;

/// How often the disk is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The part of the ballast's size below which it is removed.
const LAST_PART: u64 = 4;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Room {
    /// Enough.
    Enough,
    /// Less than the reserve.
    Short,
    /// So little that only what frees room, or must not fail, may use it.
    Hardly,
}

/// How much room the disk has; clones share it.
#[derive(Clone)]
pub struct Space {
    folder: PathBuf,
    /// Bytes; 0 for none.
    reserve: u64,
    ballast: Ballast,
    room: Arc<AtomicU8>,
    metrics: Arc<Metrics>,
}

impl Space {
    /// The disk of a folder. If it is full the ballast is removed at once, so that an engine can be opened there.
    pub(crate) fn new(folder: PathBuf, reserve: u64, ballast: Ballast, metrics: Arc<Metrics>) -> Space {
        let space = Space { folder, reserve, ballast, room: Arc::new(AtomicU8::new(Room::Enough as u8)), metrics };
        // An engine may write a lot while it opens.
        space.look_below(space.ballast.bytes());
        space
    }

    /// How much room there is.
    pub(crate) fn room(&self) -> Room {
        match self.room.load(Ordering::Relaxed) {
            0 => Room::Enough,
            1 => Room::Short,
            _ => Room::Hardly,
        }
    }

    /// So much room is left, from now on.
    #[cfg(test)]
    pub(crate) fn set_room(&self, room: Room) {
        self.room.store(room as u8, Ordering::Relaxed);
    }

    /// Looks again and again until `stop` is true.
    pub(crate) async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = looks.tick() => {}
            }
            let own = self.clone();
            // A network disk may take its time.
            let _ = tokio::task::spawn_blocking(move || own.look()).await;
        }
    }

    fn free(&self) -> Option<u64> {
        let disk = statvfs(&self.folder).ok()?;
        // The types differ between systems.
        #[allow(clippy::useless_conversion, reason = "u32 on some systems")]
        let free = u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
        Some(free)
    }

    fn look(&self) {
        self.look_below(self.ballast.bytes() / LAST_PART);
    }

    /// Removes the ballast if less than `last` is free; makes it if it is missing and there is room.
    fn look_below(&self, last: u64) {
        let Some(mut free) = self.free() else { return };
        let size = self.ballast.bytes();
        let mut has_ballast = self.ballast.is_there();
        if has_ballast && free < last {
            has_ballast = !self.remove_ballast(free);
            free = self.free().unwrap_or(free);
        } else if !has_ballast && free >= self.reserve.max(size).saturating_add(size) {
            has_ballast = self.ballast.make().inspect_err(|error| self.warn(error)).is_ok();
            free = self.free().unwrap_or(free);
        }
        self.metrics.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        // Otherwise the room that the ballast has given would be used up for new records.
        let hardly = if has_ballast { size } else { 2 * size };
        let room = match free {
            _ if free < hardly => Room::Hardly,
            _ if free < self.reserve => Room::Short,
            _ => Room::Enough,
        };
        let before = self.room.swap(room as u8, Ordering::Relaxed);
        if before != room as u8 {
            self.tell(room, free >> 20);
        }
    }

    fn remove_ballast(&self, free: u64) -> bool {
        let removed = self.ballast.remove().inspect_err(|error| self.warn(error)).unwrap_or(false);
        if removed {
            let (free_kib, ballast_mib) = (free >> 10, self.ballast.bytes() >> 20);
            let action = "make room now: there is no second ballast; the node makes it again by itself";
            tracing::error!(free_kib, ballast_mib, action, "the disk is full: the node gives its ballast up");
        }
        removed
    }

    fn warn(&self, error: &std::io::Error) {
        let action = "see whether the folder of the data can be written";
        tracing::warn!(%error, action, "the ballast cannot be made or removed");
    }

    fn tell(&self, room: Room, free_mib: u64) {
        let action = "make room or give the node a larger disk; it takes them again by itself";
        match room {
            Room::Enough => tracing::info!(free_mib, "the disk has room again"),
            Room::Short => {
                tracing::error!(free_mib, action, "the disk is nearly full: the node takes no new visits and venues");
            }
            Room::Hardly => tracing::error!(
                free_mib,
                action,
                "the disk is full: the node takes no new visits, venues and corrections, and nothing from its peers"
            ),
        }
    }
}
