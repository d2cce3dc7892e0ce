//! One question to the nodes at a time for one cached path: the others wait for its answer.
//!
//! Only paths of which answers were kept before are led through here, so what is never kept never waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

type Open = Arc<Mutex<HashMap<Arc<str>, watch::Receiver<()>>>>;

/// The questions under way.
#[derive(Clone, Default)]
pub(in crate::edge) struct Flights(Open);

/// A question under way; those who wait are let go when it is dropped.
pub(in crate::edge) struct Flight {
    open: Open,
    path: Arc<str>,
    _done: watch::Sender<()>,
}

/// Who asks the node.
pub(in crate::edge) enum Turn {
    /// We do.
    Ours(Flight),
    /// Somebody does; it is over when this changes or closes.
    Theirs(watch::Receiver<()>),
}

impl Flights {
    /// Begins to ask, or says who does.
    pub(in crate::edge) fn begin(&self, path: &Arc<str>) -> Turn {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}
