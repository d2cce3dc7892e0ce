//! The store of the region's node: set aside for one that is made of an old backup, and put back if that one is not fit.
//!
//! # Invariants
//! - The backup is put into a folder beside the store, and changes places with it once it is whole. So a node that is
//!   started although this command was killed finds a whole store, or none, which its peers fill.
//! - Nothing is moved while a process uses the store: the lock of its folder is held meanwhile.
//! - Before the node is stopped its clients are refused and its peers have all that it acknowledged. So the store that is
//!   set aside has nothing that would be lost with it.
//! - The key of the backup is in this process alone, and forgotten once the backup was put back.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use api::client::Call;
use api::faults::Act;
use api::status::NodeStatus;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use node::backup::{Restored, Target};
use node::backup_key::Identity;
use node::config::NodeConfig;

use super::{Disturber, LARGEST, LIMIT};
use crate::drill::beside::Beside;
use crate::drill::site::{Node, Process};
use crate::load::wall;
use crate::support::backup::Taking;
use crate::support::objects::Object;
use crate::support::poll;

/// How long a node may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What a drill has done to the store.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) stage: Stage,
    key: Option<Identity>,
    /// Whether the restored store may have what no other region has.
    pub(super) unsent: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The node is as it was.
    #[default]
    Whole,
    /// Its clients are refused.
    Refusing,
    /// Its process was ended.
    Stopped(Pid),
    /// The restored store has the place of its own, and the process that was ended last has this id.
    Exchanged(Pid),
    /// The restored store has what the other regions have.
    Fit,
}

/// The node whose store is exchanged.
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) process: &'a Process,
    pub(super) config: &'a NodeConfig,
    pub(super) beside: Beside,
}

impl Disturber {
    pub(super) fn place(&self) -> anyhow::Result<Place<'_>> {
        let node = self.nodes()?.into_iter().next().context("the region has no node")?;
        let only_here = "only nodes of `meridian up` can be restored by a drill";
        let (process, config) = (node.process.as_ref().context(only_here)?, node.config.as_ref().context(only_here)?);
        Ok(Place { node, process, config, beside: Beside::of(&config.data) })
    }

    /// Takes a backup of the region's node; returns its bytes.
    pub(crate) async fn back_up(&self) -> anyhow::Result<u64> {
        let Place { node, beside, .. } = self.place()?;
        service::private::make_folder(&beside.folder)
            .with_context(|| format!("cannot make {}", beside.folder.display()))?;
        let key = Identity::generate();
        let recipient = key.recipient().to_string();
        self.making.lock().await.key = Some(key);
        let path = beside.backup();
        let to = Object::at(path.to_str().context("the folder of the deployment has no plain name")?, None)?;
        Taking::begin(&node.admin, &[recipient]).await?.to(&to, &|_| ()).await
    }

    /// Refuses the clients of the region's node, and waits until its peers have all that it acknowledged.
    pub(crate) async fn hand_over(&self, limit: Duration) -> anyhow::Result<()> {
        let own = self.clone();
        let refusing = tokio::spawn(async move {
            let mut making = own.making.lock().await;
            own.check_open()?;
            making.stage = Stage::Refusing;
            own.begin(own.place()?.node, Act::RefuseClients {}, own.plan.expiry()).await
        });
        refusing.await??;
        let node = self.place()?.node;
        poll::until(limit, async || everything_is_elsewhere(node).await).await
    }

    /// Stops the region's node in peace, and waits until it has ended. `meridian up` starts it again on the store that it
    /// then has, when the drill expires or says so.
    pub(crate) async fn stop_node(&self) -> anyhow::Result<()> {
        let place = self.place()?;
        {
            let mut making = self.making.lock().await;
            self.check_open()?;
            let pid = place.process.running()?;
            place.process.end(Signal::SIGTERM, Timestamp::now() + self.plan.expiry())?;
            making.stage = Stage::Stopped(pid);
        }
        place.unused().await.map(drop)
    }

    /// Puts the backup into a folder beside the store.
    pub(crate) async fn put_back(&self) -> anyhow::Result<Restored> {
        let Place { config, beside, .. } = self.place()?;
        let mut making = Arc::clone(&self.making).lock_owned().await;
        self.check_open()?;
        let key = making.key.take().context("there is no key")?;
        let backup = File::open(beside.backup()).context("cannot open the backup")?;
        let backup = BufReader::new(WhileOpen { file: backup, closed: Arc::clone(&self.closed) });
        let (storage, to) = (config.storage, beside.restored());
        let putting = tokio::task::spawn_blocking(move || {
            // What takes everything back waits until nothing is written any more.
            let _making = making;
            node::backup::restore(backup, &key, Target { data: &to, storage }, wall(), &mut |_| ())
        });
        putting.await.context("the restore panicked")?.context("the backup was not put back")
    }

    /// Lets the restored store and the node's own change places, and the node start.
    pub(crate) async fn exchange(&self) -> anyhow::Result<()> {
        let Place { process, config, beside, .. } = self.place()?;
        let mut making = self.making.lock().await;
        self.check_open()?;
        let Stage::Stopped(pid) = making.stage else { anyhow::bail!("the node was not stopped") };
        {
            let _alone = alone(&config.data)?;
            swap(&config.data, &beside.aside(), &beside.restored()).context("the stores cannot change places")?;
        }
        making.stage = Stage::Exchanged(pid);
        process.returns_now()
    }

    /// The restored store has what the others have: the node's own is not needed any more.
    pub(crate) async fn keep_restored(&self) -> anyhow::Result<()> {
        let mut making = self.making.lock().await;
        self.check_open()?;
        making.stage = Stage::Fit;
        Ok(())
    }
}

impl Place<'_> {
    /// Waits until no process uses the store; returns its lock.
    pub(super) async fn unused(&self) -> anyhow::Result<File> {
        let ended = async || {
            anyhow::ensure!(self.process.running().is_err(), "{} has not ended", self.node.name);
            alone(&self.config.data)
        };
        poll::until(STOP_LIMIT, ended).await
    }

    /// Lets `meridian up` start the process whose last one is given, if it does not run.
    pub(super) fn start(&self, last: Pid) -> anyhow::Result<()> {
        // Another one runs if `meridian up`, or a person, was faster.
        if self.process.running().is_ok_and(|pid| pid != last) {
            return Ok(());
        }
        self.process.returns(Timestamp::now(), last.as_raw())
    }
}

/// Fails while a peer lacks what only this node writes.
pub(super) async fn everything_is_elsewhere(node: &Node) -> anyhow::Result<()> {
    let asked = Call::get("/v1/admin/status").limits(LIMIT, LARGEST).send(&node.admin).await?;
    let status: NodeStatus = asked.json()?;
    anyhow::ensure!(!status.peers.is_empty(), "{} has no peer", node.name);
    for peer in &status.peers {
        anyhow::ensure!(peer.connected, "{} has no link to {}", node.name, peer.name);
        let lacks = peer.lag_from_here.unwrap_or(peer.lag_entries);
        anyhow::ensure!(lacks == 0, "{} lacks {lacks} entries of {}", peer.name, node.name);
    }
    Ok(())
}

/// The lock that a node holds on the folder of its store; an error while one does.
fn alone(store: &Path) -> anyhow::Result<File> {
    let folder = File::open(store).with_context(|| format!("cannot open {}", store.display()))?;
    folder.try_lock().with_context(|| format!("{} is in use", store.display()))?;
    Ok(folder)
}

/// Moves `store` to `aside`, and `new` to its place. If the second cannot be done, the first is undone.
pub(super) fn swap(store: &Path, aside: &Path, new: &Path) -> io::Result<()> {
    fs::rename(store, aside)?;
    if let Err(error) = fs::rename(new, store) {
        fs::rename(aside, store)?;
        return Err(error);
    }
    // Otherwise a power cut could leave both names to one of them.
    [store, aside].into_iter().filter_map(Path::parent).try_for_each(|folder| File::open(folder)?.sync_all())
}

/// A file that cannot be read any more once everything is being taken back.
struct WhileOpen {
    file: File,
    closed: Arc<AtomicBool>,
}

impl Read for WhileOpen {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(io::Error::other("everything is being restored"));
        }
        self.file.read(bytes)
    }
}
