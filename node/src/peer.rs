//! Links to peers: TCP with mutual TLS, one connection per pair of nodes.
//!
//! The node with the smaller name dials and the other accepts, so that two nodes never hold two links. A frame on the
//! wire is a length (4 bytes, big-endian) and that many bytes.
//!
//! # Invariants
//! - The replica receives nothing from a peer before the peer's certificate has proved its name.
//! - A link ends when files that have changed refuse its peer's certificate ([`TlsIdentity`]). A certificate that expires
//!   is refused at the next handshake, because to end links that work would stop replication in every region at once.
//! - A peer that reads slowly is disconnected, not waited for. A peer that sends faster than we apply has to wait.
//!
//! # Not here
//! The meaning of frames ([`replication::Frame`]); certificates as files ([`service::authority`]).

mod accept;
mod dial;
mod diallers;
mod inquiry;
mod link;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use replication::LinkId;

pub use accept::accept;
pub use diallers::dial_members;
pub use inquiry::ask_for_membership;
pub use tls::{TlsError, TlsIdentity};

use crate::driver::Handle;
use crate::faults::Faults;
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::space::Space;

/// The state that all links share.
#[derive(Clone)]
pub struct Links {
    handle: Handle,
    identity: Arc<TlsIdentity>,
    faults: Faults,
    membership: Membership,
    space: Space,
    metrics: Arc<Metrics>,
    next: Arc<AtomicU64>,
}

impl Links {
    /// Links of one node.
    #[must_use]
    pub fn new(
        handle: Handle,
        identity: Arc<TlsIdentity>,
        faults: Faults,
        membership: Membership,
        space: Space,
        metrics: Arc<Metrics>,
    ) -> Links {
        Links { handle, identity, faults, membership, space, metrics, next: Arc::new(AtomicU64::new(1)) }
    }

    fn next_id(&self) -> LinkId {
        LinkId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
