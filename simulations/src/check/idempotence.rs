//! I8: a request repeated in any region any number of times has the effect of one.

use std::collections::BTreeSet;

use replication::Wall;

use super::Invariant;
use crate::world::World;

impl World {
    /// Each visit is there once, with one creation, and has only changes that were requested.
    pub(crate) fn everything_is_there_once(&mut self, core: &BTreeSet<usize>) {
        for at in core {
            let Ok(rows) = self.reader(*at).all(Wall(0)) else { continue };
            let mut before = None;
            let mut wrong = None;
            for (key, row) in rows {
                if before == Some(key.name) {
                    wrong = Some(format!("{key:?} is there twice"));
                }
                before = Some(key.name);
                let Some(visit) = self.model.names.get(&key.name) else {
                    wrong = Some(format!("{key:?} was never requested"));
                    continue;
                };
                let may: BTreeSet<_> = self.model.visits[visit].taken.iter().map(|taken| taken.hash).collect();
                if !row.hashes().is_subset(&may) {
                    wrong = Some(format!("visit {visit} has a change that was never requested"));
                }
                if row.hashes().len() > 1 && row.document().is_ok_and(|document| document.all("name").len() > 1) {
                    wrong = Some(format!("visit {visit} was created twice"));
                }
            }
            if let Some(wrong) = wrong {
                self.must(Invariant::Idempotence, Some(*at), false, || wrong);
            }
        }
    }
}
