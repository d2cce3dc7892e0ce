//! The synthetic clients: guests that check in at a fixed rate, correct and read their visits, and notice what fails.
//!
//! # Invariants
//! - A check-in counts from the moment at which it was due, so a server that stalls is charged for it.
//! - A client does what a real one does by itself: it tries the next address of a name when it cannot connect or when
//!   the connection breaks, and it does not repeat a correction that may have had an effect.

mod guest;
mod later;
mod target;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::RegionId;
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
use registry::CreatedVenue;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::guest::Guest;
pub(crate) use self::later::come_back;
use self::target::Target;
use super::ledger::{ClientKind, Ledger};
use super::plan::Plan;
use super::site::Site;
use crate::load::Pool;

/// What all clients share.
pub(crate) struct Scene {
    pub(crate) site: Site,
    pub(crate) venue: CreatedVenue,
    pub(crate) ledger: Ledger,
    /// The start of the drill, from which all times count.
    pub(crate) start: Instant,
    pub(crate) pool: Pool,
    pub(crate) timeout: Duration,
    /// The region that the drill disturbs now, if it is not the plan's.
    pub(crate) restarting: Mutex<Option<RegionId>>,
}

/// The running clients.
pub(crate) struct Clients {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Clients {
    /// Starts all clients of a plan.
    pub(crate) fn start(plan: &Plan, scene: &Arc<Scene>) -> Clients {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let all = plan.clients.edge + plan.clients.ttl + plan.clients.pinned;
        let pause = Duration::from_secs_f64(all as f64 / plan.clients.rate);
        let counts = [plan.clients.edge, plan.clients.ttl, plan.clients.pinned];
        let kinds = ClientKind::ALL.into_iter().zip(counts);
        // Numbered within a kind, so that each kind has clients in all networks and at all routers.
        let each = kinds.flat_map(|(kind, count)| (0..count).map(move |number| (kind, number, count)));
        for (client, (kind, number, count)) in each.enumerate() {
            let address = address(&plan.clients.networks, number);
            let router = (number + number / plan.clients.networks.len()) % scene.site.routers.len();
            let target = Target::new(kind, Arc::clone(scene), address, router);
            let guest = Guest::new(client, kind, Arc::clone(scene), target, address);
            // The first check-ins are spread over the pause, otherwise all clients would come at once again and again.
            let first = scene.start.elapsed() + pause.mul_f64(number as f64 / count as f64);
            tasks.spawn(guest.run(first, pause, stopped.clone()));
        }
        Clients { tasks, stop }
    }

    /// Lets each client end what it does, and waits for them.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The address of a client: the networks in turn, and within a network another /24 (IPv6: /56) each time.
pub(crate) fn address(networks: &[IpNetwork], number: usize) -> IpAddr {
    let network = networks[number % networks.len()];
    let turn = number / networks.len();
    match network {
        IpNetwork::V4(v4) => {
            let blocks = 1_u32 << 24_u8.saturating_sub(v4.prefix()).min(16);
            let block = u32::try_from(turn).unwrap_or(0) % blocks;
            IpAddr::V4((u32::from(v4.network()) + block * 256 + u32::from(v4.prefix() < 32)).into())
        }
        IpNetwork::V6(v6) => {
            let blocks = 1_u128 << 56_u8.saturating_sub(v6.prefix()).min(16);
            let block = turn as u128 % blocks;
            IpAddr::V6((u128::from(v6.network()) + (block << 72) + u128::from(v6.prefix() < 128)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use ipnetwork::IpNetwork;

    use super::address;

    #[test]
    fn clients_are_spread_over_all_networks_and_within_them() {
        let networks: Vec<IpNetwork> = ["46.4.0.0/16", "8.8.8.0/24", "2001:db8::/32", "192.0.2.7/32"]
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let of = |number| address(&networks, number).to_string();
        assert_eq!([0, 1, 2, 3].map(of), ["46.4.0.1", "8.8.8.1", "2001:db8::1", "192.0.2.7"]);
        assert_eq!([4, 5, 6, 7].map(of), ["46.4.1.1", "8.8.8.1", "2001:db8:0:100::1", "192.0.2.7"]);
        for number in 0..5_000 {
            assert!(networks[number % 4].contains(address(&networks, number)));
        }
    }
}
