//! Whether a router that stops has a successor, which takes new connections from the same sockets.
//!
//! Without a successor the router closes idle connections at once, because a client that comes back finds no listener
//! anyway. With a successor such a close would only lose the request that its client is just sending. So the connections go
//! on for a while, and each ends after an answer that says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether there is a successor. It is set before the listeners are stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Succession(Arc<AtomicBool>);

impl Succession {
    /// A successor serves from now on.
    pub(crate) fn happens(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
