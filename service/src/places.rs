//! Places for connections: how many there may be, and how many of one client.
//!
//! # Invariants
//! - One client (an IPv4 address, or an IPv6 network that one subscriber has) never has more connections than its limit,
//!   however many places are free. Proxies that are trusted have no such limit, because many clients are behind them.
//! - [`RESERVE`] further places are for trusted proxies alone, so probes are answered while clients have all the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::{Trusted, prefix};

/// Places for trusted proxies alone.
const RESERVE: usize = 64;

/// The places of one or more listeners. Clones share them.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    free: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    trusted: Trusted,
    per_client: usize,
    held: Mutex<HashMap<u128, usize>>,
    /// The name of the limit for operators, such as `limits.connections`.
    name: &'static str,
}

/// A place that a connection has. To drop it gives it to another one.
pub struct Place {
    _client: Option<ClientPlace>,
    _permit: OwnedSemaphorePermit,
}

/// The part of a place that counts for its client.
pub(crate) struct ClientPlace {
    places: Places,
    prefix: u128,
}

/// No place at once.
pub(crate) enum Full {
    /// The client has too many connections.
    Client,
    /// There are too many connections. This one may wait with its client's part of a place, if it has one.
    All(Option<ClientPlace>),
}

impl Places {
    /// `connections` places, of which one client may have `per_client`. `name` is the name of the limit for operators.
    #[must_use]
    pub fn new(connections: usize, per_client: usize, trusted: Trusted, name: &'static str) -> Places {
        let (free, reserve) = (Arc::new(Semaphore::new(connections)), Arc::new(Semaphore::new(RESERVE)));
        Places(Arc::new(Shared { free, reserve, trusted, per_client, held: Mutex::default(), name }))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0.name
    }

    /// A place for a connection from `peer`.
    pub(crate) fn take(&self, peer: IpAddr) -> Result<Place, Full> {
        let is_trusted = self.0.trusted.contains(peer.to_canonical());
        let client = if is_trusted { None } else { Some(self.of_client(peer).ok_or(Full::Client)?) };
        let reserve = || if is_trusted { self.0.reserve.clone().try_acquire_owned().ok() } else { None };
        match self.0.free.clone().try_acquire_owned().ok().or_else(reserve) {
            Some(permit) => Ok(Place { _client: client, _permit: permit }),
            None => Err(Full::All(client)),
        }
    }

    /// Waits for a place.
    pub(crate) async fn wait(&self, client: Option<ClientPlace>) -> Option<Place> {
        // The semaphore is never closed.
        let permit = self.0.free.clone().acquire_owned().await.ok()?;
        Some(Place { _client: client, _permit: permit })
    }

    fn of_client(&self, peer: IpAddr) -> Option<ClientPlace> {
        let prefix = prefix(peer);
        let mut held = self.0.held.lock();
        let count = held.entry(prefix).or_default();
        if *count >= self.0.per_client {
            return None;
        }
        *count += 1;
        Some(ClientPlace { places: self.clone(), prefix })
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut held = self.places.0.held.lock();
        if let Some(count) = held.get_mut(&self.prefix) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, Places, RESERVE};
    use crate::client::Trusted;

    fn places(connections: usize, per_client: usize) -> Places {
        Places::new(connections, per_client, Trusted::new(vec!["10.0.0.0/8".parse().unwrap()]), "limits.connections")
    }

    #[test]
    fn a_client_has_its_places_and_gets_them_back() {
        let places = places(10, 2);
        let take = |peer: &str| places.take(peer.parse().unwrap());
        let first = take("192.0.2.1");
        let second = take("::ffff:192.0.2.1");
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(take("192.0.2.1"), Err(Full::Client)));
        let others: Vec<_> = (0..8).map(|_| take("10.1.2.3")).collect();
        assert!(others.iter().all(Result::is_ok), "a proxy has no limit of its own");
        drop(second);
        assert!(take("192.0.2.1").is_ok());
        drop((first, others));
        assert!(places.0.held.lock().is_empty());
    }

    #[tokio::test]
    async fn the_reserve_is_for_trusted_proxies() {
        let places = places(1, 2);
        let take = |peer: &str| places.take(peer.parse().unwrap());
        let only = take("192.0.2.1");
        let Err(Full::All(client)) = take("192.0.2.2") else { panic!("there is one place") };
        let probes: Vec<_> = (0..RESERVE).map(|_| take("10.1.2.3")).collect();
        assert!(probes.iter().all(Result::is_ok));
        assert!(matches!(take("10.1.2.3"), Err(Full::All(None))), "the reserve has an end");
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.wait(client).await }
        });
        drop(only);
        assert!(waiting.await.unwrap().is_some());
    }
}
