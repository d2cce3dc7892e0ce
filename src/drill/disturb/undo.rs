//! Puts the own store of the region's node back, unless the restored one is fit, and removes the files of the drill.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use api::client;
use api::faults::Act;
use api::status::Readiness;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::exchange::{Exchange, Place, Stage, everything_is_elsewhere, swap};
use super::{Disturber, end_faults};
use crate::support::poll;

/// How long `meridian up` may take to start a process.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long the peers of a restored node that is given up may take to get what it took from clients.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);

/// How long a node may take to be ready on its own store.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// What became of the files of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cleared {
    pub(crate) removed: Vec<String>,
    /// With the reason, and what to do.
    pub(crate) left: Vec<String>,
}

impl Disturber {
    /// Lets the node run on its own store again, unless the restored one is fit.
    pub(super) async fn undo(&self, exchange: &mut Exchange) -> anyhow::Result<()> {
        let place = self.place()?;
        match exchange.stage {
            Stage::Whole | Stage::Fit => return Ok(()),
            Stage::Refusing => {
                end_faults(place.node).await?;
                exchange.stage = Stage::Whole;
                return Ok(());
            }
            Stage::Stopped(pid) => place.start(pid)?,
            Stage::Exchanged(pid) => self.own_store_back(&place, exchange, pid).await.with_context(|| {
                let (name, own, data) = (&place.node.name, place.beside.aside(), place.config.data.display());
                format!(
                    "{name} is not on its own store again, which is in {}: stop {name}, move {data} away, put that folder \
                     in its place, and start {name}",
                    own.display()
                )
            })?,
        }
        exchange.stage = Stage::Whole;
        let ready = async || client::get::<Readiness>(&place.node.public, "/readyz").await;
        poll::until(READY_LIMIT, ready).await.map(drop).with_context(|| format!("{} is not ready", place.node.name))
    }

    async fn own_store_back(&self, place: &Place<'_>, exchange: &mut Exchange, ended: Pid) -> anyhow::Result<()> {
        let Place { node, process, config, beside } = place;
        let mut last = ended;
        // `meridian up` was told to start it: a process that is starting must not lose its store.
        let started = async || process.running().ok().filter(|pid| *pid != ended).ok_or(());
        if let Ok(pid) = poll::until(START_LIMIT, started).await {
            last = pid;
            // Pinned clients may have reached it meanwhile.
            let refused = self.fault(node, Act::RefuseClients {}, self.plan.expiry()).await;
            let sent = async || everything_is_elsewhere(node).await;
            exchange.unsent = refused.is_err() || poll::until(HAND_OVER_LIMIT, sent).await.is_err();
            // One that has ended by itself cannot be ended, and `unused` sees whether it has.
            for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                let _ = process.end(signal, Timestamp::now() + self.plan.expiry());
                if place.unused().await.is_ok() {
                    break;
                }
            }
        }
        {
            let _alone = place.unused().await?;
            swap(&config.data, &beside.given_up(), &beside.aside()).context("the stores cannot change places")?;
        }
        place.start(last)
    }

    /// Removes the files of the drill. The node's own store is kept if writes may be lost, because it may have them.
    pub(crate) async fn clear(&self, is_lost: bool) -> Cleared {
        let mut cleared = Cleared::default();
        let Ok(Place { node, beside, .. }) = self.place() else { return cleared };
        // The files that another drill left are not those of a drill that makes none.
        if !self.plan.takes_a_backup() {
            return cleared;
        }
        let exchange = self.making.lock().await;
        let mut remove = |path: &Path, what: &str, keep: Option<String>| {
            if !path.exists() {
                return;
            }
            let removed = match keep {
                Some(why) => Err(why),
                None if path.is_dir() => node::storage::remove(path).map_err(|error| error.to_string()),
                None => fs::remove_file(path).map_err(|error| error.to_string()),
            };
            match removed {
                Ok(()) => cleared.removed.push(what.to_owned()),
                Err(why) => cleared.left.push(format!("{} has guests' data ({what}): {why}", path.display())),
            }
        };
        remove(&beside.backup(), "the backup", None);
        let name = &node.name;
        let unsent = exchange.unsent.then(|| {
            format!(
                "it may have check-ins that no other region has. To send them, stop {name}, move its store away, put this \
                 folder in its place, start {name}, and wait until `meridian status` shows no lag. Then remove the other"
            )
        });
        remove(&beside.restored(), "the restored store", None);
        remove(&beside.given_up(), "the restored store that was given up", unsent);
        let wanted = match exchange.stage {
            Stage::Fit if !is_lost => None,
            Stage::Fit => {
                Some("acknowledged writes may be lost, and it may have them. Remove it when you do not need it".into())
            }
            _ => Some(format!("it is {name}'s own store, which is not in its place")),
        };
        remove(&beside.aside(), "the store that was set aside", wanted);
        // What else may be in it is the beginning of a backup that was cut short.
        if cleared.left.is_empty()
            && beside.folder.exists()
            && let Err(error) = fs::remove_dir_all(&beside.folder)
        {
            cleared.left.push(format!("{}: {error}", beside.folder.display()));
        }
        cleared
    }
}
