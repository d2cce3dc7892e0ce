//! The state that all workers of a run share.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use replication::Wall;

use super::LoadArgs;
use super::measure::Recorder;
use super::payload::Pool;
use super::plan::Plan;
use api::client::Base;
use registry::CreatedVenue;

/// The state that all workers share.
pub(crate) struct Shared {
    pub(crate) targets: Arc<[Base]>,
    /// The addresses at which everything is read back.
    pub(crate) read_at: Arc<[Base]>,
    /// The client addresses to use in turn.
    pub(crate) from: Vec<std::net::IpAddr>,
    /// The check-ins to send.
    pub(crate) pool: Pool,
    /// The venues to send them to.
    pub(crate) venues: Vec<CreatedVenue>,
    /// The times at which to send them.
    pub(crate) plan: Plan,
    /// Whether to repeat a failed operation at another target.
    pub(crate) failover: bool,
    /// Whether the load is a closed loop.
    pub(crate) closed: bool,
    /// How long to wait for one answer.
    pub(crate) timeout: Duration,
    /// How long a check-in that is followed may take to be visible elsewhere; `None` if none is followed.
    pub(crate) watch_limit: Option<Duration>,
    /// The number of connections.
    pub(crate) connections: usize,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// Whether a progress line may be shown.
    pub(crate) progress: bool,
}

impl Shared {
    /// The state for a run.
    pub(crate) fn new(args: &LoadArgs, seed: u64, pool: Pool, venues: Vec<CreatedVenue>) -> Self {
        let read_at = if args.verify_at.is_empty() { &args.target } else { &args.verify_at };
        Self {
            targets: args.target.clone().into(),
            read_at: read_at.clone().into(),
            from: args.from.clone(),
            pool,
            venues,
            plan: Plan::new(args),
            failover: args.failover,
            closed: args.max,
            timeout: args.timeout,
            watch_limit: args.visibility.then_some(args.verify_timeout),
            connections: usize::from(args.connections),
            seed,
            progress: !args.json,
        }
    }
}

/// One connection's measurements. Only the progress line ever waits for the lock.
pub(crate) type SharedRecorder = Arc<Mutex<Recorder>>;

/// This machine's wall clock.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(replication::millis(since))
}
