//! At most one request to the nodes at a time for one cached path: other requests wait for its answer.
//!
//! `moka`'s own coalescing was passed over, because it gives waiters a whole value, and here an answer is streamed while
//! it is filled.
//!
//! Only paths whose answers were cached before come here, so paths that are never cached never wait.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

type OpenFlights = Arc<Mutex<HashMap<Arc<str>, watch::Receiver<()>>>>;

/// The requests under way.
#[derive(Clone, Default)]
pub(in crate::edge) struct Flights(OpenFlights);

/// A request under way; waiting requests continue when it is dropped.
pub(in crate::edge) struct Flight {
    open: OpenFlights,
    path: Arc<str>,
    _done: watch::Sender<()>,
}

/// Which request asks the node.
pub(in crate::edge) enum Turn {
    /// This request asks.
    Ours(Flight),
    /// Another request asks; it has ended when this changes or closes.
    Theirs(watch::Receiver<()>),
}

impl Flights {
    /// Begins to ask, or returns the request that already asks.
    pub(in crate::edge) fn begin(&self, path: &Arc<str>) -> Turn {
        let mut open = self.0.lock();
        if let Some(theirs) = open.get(path) {
            return Turn::Theirs(theirs.clone());
        }
        let (done, receiver) = watch::channel(());
        open.insert(path.clone(), receiver);
        Turn::Ours(Flight { open: self.0.clone(), path: path.clone(), _done: done })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.open.lock().remove(&self.path);
    }
}
