//! The state that all handlers share: the node's identity, the driver's handle, packs, metrics, recently read venues.
//!
//! # Invariants
//! - "Now" is the wall clock only while the replica believes it; while it is in doubt, "now" is the trusted time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use replication::{DocumentKey, DocumentName, NodeName, Outcome, RegionId, Row, Status, View, Wall, Write};
use tokio::sync::Semaphore;

use super::console_keys::ConsoleKeys;
use super::cors::Cors;
use super::long_lists::LongLists;
use super::packs::Packs;
use super::problem::{Kind, Problem};
use super::strangers::Strangers;
use super::venues::CachedVenue;
use crate::backup::Backups;
use crate::backup_key::Recipient;
use crate::config::{LimitsConfig, NewVenues, NodeConfig};
use crate::driver::{Handle, Refused, SeenRows, Stall};
use crate::faults::Faults;
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::space::{Room, Space};
use registry::VenueId;
use service::access_log::AccessLog;
use service::client::Trusted;
use service::operators::Operators;

/// How long a cached venue is used. Every check-in reads its venue, and a region may lag by a second anyway. A client
/// that has seen a newer state sends a session token, which no stale entry covers.
const VENUE_FRESH: Duration = Duration::from_secs(1);

/// The writes that add a record, which a node with a full disk refuses.
const ADDING: [&str; 2] = ["check_in", "venue"];

/// The write that changes a record. It is refused when there is hardly any room.
const CORRECTION: &str = "correction";

/// How long an answer that needs a batch to be durable waits for it.
const SETTLE: Duration = Duration::from_secs(1);

/// Number of venues in the cache.
const VENUES: u64 = 100_000;

/// Searches for contacts that may run at one time.
const CONTACT_SEARCHES: usize = 2;

/// Erasures that may wait for their venue at one time.
const VENUE_WAITS: usize = 64;

/// How many posters are drawn at one time; further ones wait.
const POSTERS: usize = 2;

/// Workbooks of guest lists that may be made at one time.
const WORKBOOKS: usize = 2;

/// What a node reads from files at its start.
pub struct Loaded {
    /// The policy packs.
    pub packs: Packs,
    /// The keys of the owners' console.
    pub console_keys: ConsoleKeys,
    /// The operators that may give orders.
    pub operators: Operators,
    /// The room on the disk.
    pub space: Space,
    /// Backups of the store.
    pub backups: Backups,
    /// The access log, if there is one.
    pub access_log: Option<AccessLog>,
}

/// The shared state.
pub struct App {
    pub(super) region: RegionId,
    pub(super) name: NodeName,
    /// Which nodes and regions belong to the deployment.
    pub(super) membership: Membership,
    /// Where guests reach the service, without a slash at the end.
    pub(super) public_url: String,
    pub(super) limits: LimitsConfig,
    /// The routers, whose ids of requests are taken over.
    pub(super) routers: Trusted,
    pub(super) access_log: Option<AccessLog>,
    pub(super) strangers: Strangers,
    pub(super) new_venues: NewVenues,
    /// After which time a venue is closed that never had a check-in.
    pub(super) unused_venues: Option<Duration>,
    /// Pages of other origins that may call the guest's routes.
    pub(super) cors: Cors,
    pub(super) handle: Handle,
    pub(super) packs: Packs,
    pub(super) console_keys: ConsoleKeys,
    pub(super) faults: Faults,
    pub(super) space: Space,
    pub(super) backups: Backups,
    /// The only keys that backups are encrypted to; any if it is empty.
    pub(super) backup_recipients: Vec<Recipient>,
    pub(super) operators: Operators,
    /// How many other regions must be left to serve when one is drained.
    pub(super) least_regions: usize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) venues: Cache<VenueId, Arc<CachedVenue>>,
    /// Limits searches for contacts: each reads two days of a venue and keeps what it finds until it is sorted.
    pub(super) contact_searches: Semaphore,
    /// Limits lists that are read at one time.
    pub(super) long_lists: LongLists,
    /// Limits erasures that wait for their venue.
    pub(super) venue_waits: Semaphore,
    /// Limits posters: each keeps a processor busy until it is drawn.
    pub(super) posters: Arc<Semaphore>,
    /// Limits workbooks: each keeps a processor busy and takes disk space until it is made.
    pub(super) workbooks: Arc<Semaphore>,
    /// The folder of the store, for temporary files without a name.
    pub(super) data: PathBuf,
}

impl App {
    /// The API of one node.
    #[must_use]
    pub fn new(
        config: &NodeConfig,
        handle: Handle,
        membership: Membership,
        loaded: Loaded,
        faults: Faults,
        metrics: Arc<Metrics>,
    ) -> App {
        let Loaded { packs, console_keys, operators, space, backups, access_log } = loaded;
        let public_url =
            config.registry.public_url.clone().unwrap_or_else(|| format!("http://{}", config.listen.public.first()));
        App {
            region: config.region.clone(),
            name: config.name.clone(),
            membership,
            public_url: public_url.trim_end_matches('/').to_owned(),
            strangers: Strangers::new(&config.limits),
            new_venues: config.registry.new_venues,
            unused_venues: config.registry.unused_venues,
            routers: Trusted::new(config.limits.routers.clone()),
            access_log,
            limits: config.limits.clone(),
            cors: Cors::new(&config.cors_origins),
            handle,
            packs,
            console_keys,
            space,
            backups,
            backup_recipients: config.backup.recipients.clone(),
            faults,
            operators,
            least_regions: config.least_regions,
            metrics,
            contact_searches: Semaphore::new(CONTACT_SEARCHES),
            long_lists: LongLists::new(),
            venue_waits: Semaphore::new(VENUE_WAITS),
            posters: Arc::new(Semaphore::new(POSTERS)),
            workbooks: Arc::new(Semaphore::new(WORKBOOKS)),
            data: config.data.clone(),
            venues: Cache::builder().max_capacity(VENUES).time_to_live(VENUE_FRESH).build(),
        }
    }

    /// The time as far as it may be believed. The status may be one heartbeat old, or older if the process was
    /// suspended. If the wall clock jumped since then, the jump does not count before the replica has judged it.
    pub(super) fn now(&self, status: &Status) -> Wall {
        status.clock.at(self.handle.now().mono)
    }

    /// The moment up to which every expired document is hidden from every reader.
    pub(super) fn as_of(&self, status: &Status) -> Wall {
        status.dead_through(self.handle.now().mono)
    }

    /// The view of an answer whose `status` was taken before its first read.
    pub(super) fn view<'a>(&self, status: &'a Status) -> View<'a> {
        View::durable(self.as_of(status), &status.durable)
    }

    /// Live rows of a document that expires. This is a point read of recent pages, which is cheaper than a change of
    /// threads.
    pub(super) fn rows(&self, name: &DocumentName, view: View<'_>) -> Result<Vec<(DocumentKey, Row)>, Problem> {
        Ok(self.handle.reader().rows(name, false, view)?)
    }

    /// The live row at exactly this key, as a list of one or none.
    pub(super) fn row(&self, key: &DocumentKey, view: View<'_>) -> Result<Vec<(DocumentKey, Row)>, Problem> {
        Ok(self.handle.reader().row(key, view)?.map(|row| (*key, row)).into_iter().collect())
    }

    /// Refuses an order that no other node would hear of.
    pub(super) fn check_member(&self) -> Result<(), Problem> {
        let is_removed = self.membership.now().is_removed;
        if is_removed { Err(Problem::new(Kind::Removed, "give the order to another node")) } else { Ok(()) }
    }

    /// Waits until what was applied so far is durable; an error if the disk takes too long.
    pub(super) async fn settle(&self) -> Result<(), Problem> {
        let settled = tokio::time::timeout(SETTLE, self.handle.settled()).await;
        settled.map_err(|_| Problem::new(Kind::NotDurable, "repeat the request in a moment, or elsewhere"))
    }

    /// Writes and counts. Returns once the write is durable here.
    pub(super) async fn write(&self, kind: &'static str, write: Write) -> Result<Outcome, Refused> {
        self.write_if(kind, write, SeenRows::new()).await
    }

    /// As [`write`](Self::write), if the rows are still as they were seen.
    pub(super) async fn write_if(&self, kind: &'static str, write: Write, seen: SeenRows) -> Result<Outcome, Refused> {
        self.write_after(kind, None, write, seen).await
    }

    /// As [`write_if`](Self::write_if), with another write that is durable no later than this one.
    pub(super) async fn write_after(
        &self,
        kind: &'static str,
        before: Option<Write>,
        write: Write,
        seen: SeenRows,
    ) -> Result<Outcome, Refused> {
        let has_room = match self.space.room() {
            Room::Enough => true,
            Room::Short => !ADDING.contains(&kind),
            Room::Hardly => !ADDING.contains(&kind) && kind != CORRECTION,
        };
        let result =
            if !has_room { Err(Refused::DiskFull) } else { self.handle.write_after(before, write, seen).await };
        let outcome = match &result {
            Ok(Outcome::Created(_)) => "created",
            Ok(Outcome::Amended(_)) => "amended",
            Ok(Outcome::Repeat) => "repeat",
            Ok(Outcome::Erased(_)) => "erased",
            Ok(Outcome::AlreadyErased) => "already_erased",
            Err(_) => "refused",
        };
        self.metrics.wrote(kind, outcome);
        result
    }
}

/// Why the node is not fit to serve; empty if it is fit.
pub(super) fn reasons(app: &App, status: &Status, stopping: bool) -> Vec<&'static str> {
    let stalled = app.handle.stalled().map(|stall| match stall {
        Stall::Disk(_) => "the disk has not finished a batch for a second",
        Stall::Driver(_) => "the replica has not answered for a second",
    });
    let short = match app.space.room() {
        Room::Enough => None,
        Room::Short => Some("the disk is nearly full: no new visits and venues are taken"),
        Room::Hardly => Some("the disk is full: no visits, venues and corrections are taken, and nothing from peers"),
    };
    let fault = app.faults.is_unready().then_some("a fault that an operator ordered for a drill");
    let doubt = status.doubt.is_some().then_some("the clock is in doubt");
    let starting = status.starting.then_some("starting: the node asks its peers for its own log");
    let filling =
        status.filling.then_some("filling: the node fetches what its peers have (POST /v1/admin/serve skips this)");
    let recovering = status.recovering.then_some("recovering: the node fetches its own entries back from its peers");
    // A node without peers serves all the same, because there is no better one.
    let early = (status.dropped_too_early && !status.peers.is_empty())
        .then_some("the clock was ahead: documents that have not expired may be missing here");
    let removed = app.membership.now().is_removed.then_some("removed from the deployment: stop this node");
    let stopping = stopping.then_some("stopping");
    [removed, short, fault, stalled, doubt, starting, filling, recovering, early, stopping]
        .into_iter()
        .flatten()
        .collect()
}
