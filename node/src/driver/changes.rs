//! The channels that tell followers which documents of their tenant changed.
//!
//! A change wakes the followers of its tenant and no others, because a node has many followers and most changes concern
//! none of them.
//!
//! # Invariants
//! - A tenant has a channel if and only if it has a follower.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use replication::{DocumentName, TenantId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// Changes that a slow follower may lag behind: a full channel takes 16 KiB of memory.
const LAG: usize = 256;

/// The channels of all tenants that have followers.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<BTreeMap<TenantId, Sender<DocumentName>>>);

/// Follows the documents of one tenant until it is dropped.
#[derive(Debug)]
pub struct Follower {
    changes: Arc<Changes>,
    tenant: TenantId,
    /// `None` only while the follower is being dropped.
    names: Option<Receiver<DocumentName>>,
}

impl Changes {
    /// Tells the followers of the document's tenant.
    pub(super) fn tell(&self, name: DocumentName) {
        if let Some(channel) = self.channels().get(&name.tenant) {
            // An error means that the last follower is about to remove the channel.
            let _ = channel.send(name);
        }
    }

    /// Begins to follow a tenant.
    pub(super) fn follow(self: Arc<Changes>, tenant: TenantId) -> Follower {
        let names = self.channels().entry(tenant).or_insert_with(|| channel(LAG).0).subscribe();
        Follower { changes: self, tenant, names: Some(names) }
    }

    /// Callers hold the lock for one map look-up and one send. No caller awaits while it holds the lock.
    fn channels(&self) -> MutexGuard<'_, BTreeMap<TenantId, Sender<DocumentName>>> {
        self.0.lock()
    }
}

impl Follower {
    /// The next document that changed.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] if this follower was too slow and has missed some.
    pub async fn next(&mut self) -> Result<DocumentName, RecvError> {
        match &mut self.names {
            Some(names) => names.recv().await,
            None => Err(RecvError::Closed),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut channels = self.changes.channels();
        // The receiver is dropped under the lock, otherwise a follower that begins in between would miss a change.
        self.names = None;
        if channels.get(&self.tenant).is_some_and(|channel| channel.receiver_count() == 0) {
            channels.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use replication::{Collection, DocumentId, DocumentName, TenantId};
    use tokio::sync::broadcast::error::RecvError;

    use super::{Changes, Follower, LAG};

    fn name(tenant: u8, id: u8) -> DocumentName {
        DocumentName { collection: Collection(2), tenant: TenantId([tenant; 16]), id: DocumentId([id; 16]) }
    }

    /// The names that a follower has received so far.
    fn told(follower: &mut Follower) -> Vec<DocumentName> {
        let names = follower.names.as_mut().expect("follows");
        std::iter::from_fn(|| names.try_recv().ok()).collect()
    }

    #[test]
    fn a_change_reaches_the_followers_of_its_tenant_alone() {
        let changes = Arc::new(Changes::default());
        changes.tell(name(1, 0));
        let (mut one, mut two) = (changes.clone().follow(TenantId([1; 16])), changes.clone().follow(TenantId([2; 16])));
        let mut also_one = changes.clone().follow(TenantId([1; 16]));
        changes.tell(name(1, 1));
        changes.tell(name(3, 1));
        changes.tell(name(2, 2));
        assert_eq!(told(&mut one), [name(1, 1)]);
        assert_eq!(told(&mut also_one), [name(1, 1)]);
        assert_eq!(told(&mut two), [name(2, 2)]);
    }

    #[test]
    fn the_last_follower_takes_the_channel_with_it() {
        let changes = Arc::new(Changes::default());
        let (first, second) = (changes.clone().follow(TenantId([1; 16])), changes.clone().follow(TenantId([1; 16])));
        drop(first);
        assert_eq!(changes.channels().len(), 1);
        drop(second);
        assert!(changes.channels().is_empty());
        // A tenant that is followed again receives changes again.
        let mut again = changes.clone().follow(TenantId([1; 16]));
        changes.tell(name(1, 7));
        assert_eq!(told(&mut again), [name(1, 7)]);
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_that_it_missed_some() {
        let changes = Arc::new(Changes::default());
        let mut slow = changes.clone().follow(TenantId([1; 16]));
        (0..=LAG).for_each(|_| changes.tell(name(1, 1)));
        assert_eq!(slow.next().await, Err(RecvError::Lagged(1)));
        assert_eq!(slow.next().await, Ok(name(1, 1)));
    }
}
