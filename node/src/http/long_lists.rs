//! Which lists are read at one time: check-ins go first, and no venue takes the places of the others.
//!
//! # Invariants
//! - A venue has few of the places, because everybody can make a venue and fill it.
//! - A list of more than one page has its place for [`LONGEST`] at most, however slowly its client reads. Lists that begin
//!   never break it off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use registry::VenueId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// Lists of more than one page that may be under way, each with a page in memory.
const MOST: usize = 64;
/// Those of one venue.
const OF_VENUE: usize = 4;
/// First pages of one venue's lists that may be read or wait for that.
const PAGES_OF_VENUE: usize = 16;
/// How long a list of more than one page may take.
pub(super) const LONGEST: Duration = Duration::from_mins(15);

/// The places; clones share them.
#[derive(Clone)]
pub(super) struct LongLists(Arc<Shared>);

struct Shared {
    lists: Arc<Semaphore>,
    /// Half of the processors read pages; the others are for check-ins.
    reads: Arc<Semaphore>,
    lists_of: Mutex<HashMap<VenueId, usize>>,
    pages_of: Mutex<HashMap<VenueId, usize>>,
}

/// The place of a list of more than one page.
pub(super) struct ListPlace {
    /// When the list must have ended.
    pub(super) until: Instant,
    _permit: OwnedSemaphorePermit,
    _of_venue: Counted,
}

/// The turn of a page that is read.
pub(super) struct PageTurn {
    _permit: OwnedSemaphorePermit,
    _of_venue: Option<Counted>,
}

/// One more of a venue, until it is dropped.
struct Counted {
    lists: LongLists,
    which: Which,
    venue: VenueId,
}

#[derive(Clone, Copy)]
enum Which {
    Lists,
    Pages,
}

impl LongLists {
    pub(super) fn new() -> LongLists {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        LongLists(Arc::new(Shared {
            lists: Arc::new(Semaphore::new(MOST)),
            reads: Arc::new(Semaphore::new((processors / 2).max(1))),
            lists_of: Mutex::default(),
            pages_of: Mutex::default(),
        }))
    }

    /// A place for a list of more than one page.
    pub(super) fn list(&self, venue: VenueId) -> Result<ListPlace, Problem> {
        let of_venue = self.count(Which::Lists, venue, OF_VENUE)?;
        let permit = self.0.lists.clone().try_acquire_owned().map_err(|_| busy())?;
        Ok(ListPlace { until: Instant::now() + LONGEST, _permit: permit, _of_venue: of_venue })
    }

    /// Waits for the turn of a page. Only the first page of a list may find that too many wait.
    pub(super) async fn page(&self, venue: VenueId, is_first: bool) -> Result<PageTurn, Problem> {
        let of_venue = is_first.then(|| self.count(Which::Pages, venue, PAGES_OF_VENUE)).transpose()?;
        // The semaphore is never closed.
        let permit = self.0.reads.clone().acquire_owned().await.map_err(|_| Problem::internal())?;
        Ok(PageTurn { _permit: permit, _of_venue: of_venue })
    }

    fn count(&self, which: Which, venue: VenueId, most: usize) -> Result<Counted, Problem> {
        let mut counts = self.counts(which).lock();
        let count = counts.entry(venue).or_default();
        if *count >= most {
            return Err(busy());
        }
        *count += 1;
        drop(counts);
        Ok(Counted { lists: self.clone(), which, venue })
    }

    fn counts(&self, which: Which) -> &Mutex<HashMap<VenueId, usize>> {
        match which {
            Which::Lists => &self.0.lists_of,
            Which::Pages => &self.0.pages_of,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.lists.counts(self.which).lock();
        if let Some(count) = counts.get_mut(&self.venue) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.venue);
            }
        }
    }
}

fn busy() -> Problem {
    Problem::new(Kind::Busy, "many long lists are being read: try again in a moment, or ask for a shorter window")
        .after(2)
}

#[cfg(test)]
mod tests {
    use registry::VenueId;

    use super::{LongLists, MOST, OF_VENUE, PAGES_OF_VENUE};

    #[tokio::test]
    async fn a_venue_has_its_share_and_gives_it_back() {
        let lists = LongLists::new();
        let venue = |number: u8| VenueId([number; 16]);
        let own: Vec<_> = (0..OF_VENUE).map(|_| lists.list(venue(0)).expect("a place")).collect();
        assert!(lists.list(venue(0)).is_err());
        let others: Vec<_> = (1..).map_while(|number| lists.list(venue(number)).ok()).collect();
        assert_eq!(own.len() + others.len(), MOST);
        drop((own, others));
        assert!(lists.list(venue(0)).is_ok() && lists.0.lists_of.lock().is_empty());
        // One page is read, and those of another venue wait no longer than for it.
        let mut turns: Vec<_> = (0..PAGES_OF_VENUE).map(|_| Box::pin(lists.page(venue(0), true))).collect();
        let mut polled = Vec::new();
        for turn in &mut turns {
            polled.push(futures_util::poll!(turn));
        }
        assert!(lists.page(venue(0), true).await.is_err());
        let mut later = Box::pin(lists.page(venue(0), false));
        assert!(!matches!(futures_util::poll!(&mut later), std::task::Poll::Ready(Err(_))), "it may wait");
        drop((turns, polled));
        assert!(later.await.is_ok() && lists.page(venue(0), true).await.is_ok() && lists.0.pages_of.lock().is_empty());
    }
}
