//! The members of the deployment while the node runs: follows the document of changes ([`crate::members`]) and tells the
//! replica its peers. Links follow as well (`peer`).
//!
//! # Invariants
//! - The replica begins with the members that its own store knows, so a restart brings no removed node back.
//! - A removed peer keeps its link for [`FAREWELL`]. Otherwise it would not hear that it was removed.
//! - A node that was removed itself goes on as a peer, because only so can it hear that it is added again. It takes no
//!   clients (`http`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::members::Member;
use replication::{Document, Reader, StorageError, View, Wall, Write};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::NodeConfig;
use crate::driver::Handle;
use crate::lasting;
use crate::members::{self, Configured, Members};
use crate::storage::Store;

/// How long a removed peer keeps its link: longer than a relay takes by default, because the order may reach it over
/// another node.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// How often the document is read again without a word of a change, in case one was missed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The members as of now, for all that asks for them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Membership {
    configured: Arc<Configured>,
    members: watch::Receiver<Arc<Members>>,
}

/// What changes them: the task of [`MembershipKeeper::keep`].
#[derive(Debug)]
pub struct MembershipKeeper {
    membership: Membership,
    told: watch::Sender<Arc<Members>>,
}

/// Reads the document of changes in a store.
fn stored(reader: &Reader<Store>, view: View<'_>) -> Result<Option<Document>, StorageError> {
    let rows = reader.rows(&members::name(), true, view)?;
    Ok(rows.into_iter().next().and_then(|(_, row)| match row.document() {
        Ok(document) => Some(document),
        Err(error) => {
            let action = "compare the versions of the nodes; if they are equal, the store is damaged";
            tracing::error!(%error, action, "the document of members does not decode: the members stay as they are");
            None
        }
    }))
}

/// The document of changes as it is durable here, if there is one.
fn durable(handle: &Handle) -> Option<Document> {
    let status = handle.status();
    stored(handle.reader(), View::durable(Wall::default(), &status.durable)).unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the document of members cannot be read");
        None
    })
}

/// Takes up a change that a peer has told outside a link. The task that follows the document acts on it. An older change
/// than the one that is known here, and one that cannot be written now, have no effect: the caller asks again.
pub(crate) async fn take(handle: &Handle, change: &Member) {
    let document = durable(handle);
    let known = document.as_ref().map(members::read).unwrap_or_default();
    if known.get(&change.name).is_some_and(|known| !change.replaces(known)) {
        return;
    }
    set(handle, document.as_ref(), &[change]).await;
}

/// Sets the fields of these nodes.
async fn set(handle: &Handle, document: Option<&Document>, changes: &[&Member]) {
    let fields: Vec<_> = changes.iter().map(|one| (one.name.as_str(), members::value(one))).collect();
    let key = members::key();
    if let Some(change) = lasting::change(&key, document, &fields) {
        // A node that cannot write now tries again with the next reason to.
        let _ = handle.write(Write::Change { key, change }).await;
    }
}

impl Membership {
    /// The members that a configuration and a store know at the start.
    ///
    /// # Errors
    /// [`StorageError`] if the store cannot be read.
    pub fn begin(config: &NodeConfig, reader: &Reader<Store>) -> Result<(Membership, MembershipKeeper), StorageError> {
        let configured = Arc::new(Configured::of(config));
        let document = stored(reader, View::applied(Wall::default()))?;
        let changes = document.as_ref().map(members::read).unwrap_or_default();
        let (told, members) = watch::channel(Arc::new(Members::new(&configured, changes)));
        let membership = Membership { configured, members };
        Ok((membership.clone(), MembershipKeeper { membership, told }))
    }

    /// The members now.
    #[must_use]
    pub fn now(&self) -> Arc<Members> {
        self.members.borrow().clone()
    }

    /// Waits until the members are others.
    pub(crate) async fn changed(&mut self) {
        // An error means that the node is stopping, and that nothing changes any more.
        if self.members.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What this node knows without any change.
    #[must_use]
    pub(crate) fn configured(&self) -> &Configured {
        &self.configured
    }
}

/// What the task woke up for.
enum Woken {
    Stop,
    /// The links of removed peers are to be closed.
    Parting,
    /// The document of members has changed.
    Changed,
    /// Another document of the cluster has changed.
    OtherDocument,
    Look,
}

impl MembershipKeeper {
    /// Follows the changes until `stop` is true.
    pub async fn keep(self, handle: Handle, mut stop: watch::Receiver<bool>) {
        let mut follower = handle.changes(members::name().tenant);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        // When the peers that were removed lose their links.
        let mut farewell: Option<Instant> = None;
        loop {
            let parting = async {
                match farewell {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => Woken::Stop,
                () = parting => Woken::Parting,
                changed = follower.next() => match changed {
                    Ok(name) if name != members::name() => Woken::OtherDocument,
                    // A follower that missed some looks as well.
                    _ => Woken::Changed,
                },
                _ = looks.tick() => Woken::Look,
            };
            match woken {
                Woken::Stop => break,
                Woken::OtherDocument => continue,
                Woken::Parting => {
                    farewell = None;
                    handle.set_peers(self.membership.now().peer_regions());
                    continue;
                }
                Woken::Look => self.introduce(&handle).await,
                Woken::Changed => {}
            }
            let has_changed = self.look(&handle);
            if has_changed {
                self.introduce(&handle).await;
                let members = self.membership.now();
                // Those that were removed stay for the farewell.
                let mut peers: BTreeMap<_, _> =
                    handle.status().peers.iter().map(|peer| (peer.node.clone(), peer.region.clone())).collect();
                peers.retain(|name, _| !members.peers.contains_key(name));
                if !peers.is_empty() {
                    farewell = Some(Instant::now() + FAREWELL);
                }
                peers.extend(members.peer_regions());
                handle.set_peers(peers);
            }
        }
    }

    /// Introduces the nodes that are configured here and of which the document says nothing. The node that took an order
    /// has done so for those that it knows; it may not know by which address itself is reached.
    async fn introduce(&self, handle: &Handle) {
        let Some(document) = durable(handle) else { return };
        let introductions = self.membership.configured.introductions(&members::read(&document));
        if !introductions.is_empty() {
            set(handle, Some(&document), &introductions.iter().collect::<Vec<_>>()).await;
        }
    }

    /// Reads the document. Returns whether the members are others than before.
    fn look(&self, handle: &Handle) -> bool {
        let Some(document) = durable(handle) else { return false };
        let changes = members::read(&document);
        let before = self.membership.now();
        // Changes only add up. A view that is older than the store at the start must not take one back.
        if before.changes.keys().any(|name| !changes.contains_key(name)) || changes == before.changes {
            return false;
        }
        let members = Members::new(&self.membership.configured, changes);
        for (name, change) in &members.changes {
            if before.changes.get(name) != Some(change) && !change.introduced {
                let (node, region, membership) = (name, &change.region, change.membership);
                tracing::warn!(%node, %region, %membership, "an operator changed the members of the deployment");
            }
        }
        if members.is_removed && !before.is_removed {
            let action = "stop it; its entries are in the other regions";
            tracing::error!(action, "this node was removed from the deployment: it takes no clients any more");
        }
        self.told.send_replace(Arc::new(members));
        true
    }
}
