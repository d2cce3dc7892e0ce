//! The node's Prometheus metrics: one struct, registered once, in a registry of its own.
//!
//! # Invariants
//! - Labels are regions, peers, routes and kinds; never a document, a venue or a client.
//! - Metrics that mirror the replica's status are updated at the scrape ([`Metrics::mirror`]), not before.

mod mirror;

use std::time::Duration;

use api::Moment;
use api::faults::Act;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, exponential_buckets,
};
use replication::{NodeName, Outcome, Wall};
use service::ended::EndedConnections;
use service::expiry::Expiries;
use service::process_metrics;

/// All metrics of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    mirrored: mirror::Mirrored,
    /// Client connections that are open.
    pub http_connections: IntGauge,
    /// Connections that this node refused or closed, by listener and reason.
    pub ended: EndedConnections,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    http_writes: IntCounterVec,
    releases: IntCounterVec,
    upkeep: IntCounterVec,
    /// Stored rows that did not decode and were left out of an answer.
    pub unreadable_rows: IntCounter,
    pub(super) damaged_rows: IntGauge,
    damage: IntCounterVec,
    /// Times the whole store was read and compared.
    pub scrubs: IntCounter,
    erasures: IntCounterVec,
    writes: IntCounterVec,
    /// Records of each batch that was made durable.
    pub batch_records: Histogram,
    /// Seconds from the moment a batch is applied until it is durable.
    pub commit_seconds: Histogram,
    frame_bytes: IntCounterVec,
    frames: IntCounterVec,
    /// Frames that did not decode or broke the protocol; each closed its link.
    pub bad_frames: IntCounter,
    /// Handshakes on the replication listener that were refused: no certificate of our authority, or another name.
    pub refused_peers: IntCounter,
    refused_deltas: IntCounterVec,
    horizon_refused: IntCounterVec,
    held_back: IntCounterVec,
    /// Times that another process was seen to write under this node's id.
    pub forks: IntCounter,
    /// Times that a peer knew more of our log than we did.
    pub rollbacks: IntCounter,
    lag_entries: IntGaugeVec,
    lag_seconds: GaugeVec,
    peer_connected: IntGaugeVec,
    clock_offset_seconds: GaugeVec,
    complete_through_seconds: GaugeVec,
    /// Until when peers accept this node's certificate; read by the status as well.
    pub(crate) certificate_until: Gauge,
    /// When the certificates end that this node shows.
    pub(crate) expiries: Expiries,
    /// Bytes that are free on the disk of the data.
    pub(crate) disk_free: IntGauge,
    /// Whether each drill could begin, at its last check.
    pub drill_fit: IntGaugeVec,
    /// When each drill was checked last.
    pub drill_checked: GaugeVec,
    backups: IntCounterVec,
    backup_ended: Gauge,
    /// Bytes of old values that are kept for the backup that is being made.
    pub(crate) backup_kept_bytes: IntGauge,
    clock_in_doubt: IntGauge,
    faults: IntGaugeVec,
    forgot_early: IntGauge,
    starting: IntGauge,
    recovering: IntGauge,
    trusted_seconds: Gauge,
    horizon_seconds: Gauge,
    live_documents: IntGauge,
    tombstones: IntGauge,
    buckets: IntGauge,
}

/// Makes and registers metrics.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, made: Result<C, Error>) -> Result<C, Error> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.keep(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn int(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.keep(IntGauge::new(name, help))
    }

    fn ints(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.keep(Gauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Error> {
        self.keep(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, Error> {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }
}

impl Metrics {
    /// Makes and registers all metrics, those of the process included.
    ///
    /// # Errors
    /// [`Error`] if a name is used twice or not allowed, which is a mistake in this file.
    pub fn new() -> Result<Metrics, Error> {
        let registry = Registry::new();
        process_metrics::register(&registry, "node")?;
        let make = Maker(&registry);
        let (peer, peer_region) = (&["peer"], &["peer", "region"]);
        // Half a millisecond to about 16 seconds.
        let seconds = exponential_buckets(0.000_5, 2.0, 16)?;
        let http_seconds = HistogramOpts::new(
            "meridian_http_request_seconds",
            "Time from a request's head to its answer's, in seconds, by route template",
        );
        let ended = EndedConnections::new("meridian")?;
        registry.register(Box::new(ended.collector()))?;
        Ok(Metrics {
            ended,
            http_connections: make.int("meridian_http_connections", "Client connections that are open")?,
            http_requests: make.counters(
                "meridian_http_requests_total",
                "Requests answered, by route template and class of status (2xx, 4xx, ...)",
                &["route", "status"],
            )?,
            http_seconds: make.keep(HistogramVec::new(http_seconds.buckets(seconds.clone()), &["route"]))?,
            http_writes: make.counters(
                "meridian_http_writes_total",
                "Writes that clients asked for, by kind and outcome (created, amended, repeat, erased, refused, ...)",
                &["kind", "outcome"],
            )?,
            releases: make.counters(
                "meridian_releases_total",
                "Guest lists and contacts that an owner read in the console, by the reason that was stated",
                &["reason"],
            )?,
            upkeep: make.counters(
                "meridian_venue_upkeep_total",
                "Venues that this node closed because no guest ever came (expired), erased because they were closed and no \
                 visit was left (forgotten), kept because of a visit (used), or could not change (failed)",
                &["outcome"],
            )?,
            unreadable_rows: make.counter(
                "meridian_unreadable_rows_total",
                "Stored rows that did not decode and were left out of an answer",
            )?,
            damaged_rows: make.int(
                "meridian_damaged_rows",
                "Stored rows that are damaged, or lack what their log says, and have not come back from a peer yet",
            )?,
            damage: make.counters(
                "meridian_damage_total",
                "Damaged rows: found, healed from a peer, lost because no peer has what is missing",
                &["outcome"],
            )?,
            scrubs: make.counter(
                "meridian_scrubs_total",
                "Times the whole store was read and compared with the peers",
            )?,
            erasures: make.counters(
                "meridian_erasures_total",
                "Keys that were destroyed on the disk: of documents erased before their time (early), of hours (expired)",
                &["kind"],
            )?,
            writes: make.counters(
                "meridian_writes_total",
                "Local writes that the replica made durable, by outcome",
                &["outcome"],
            )?,
            batch_records: make.histogram(
                "meridian_commit_records",
                "Records in a group commit",
                exponential_buckets(1.0, 2.0, 10)?,
            )?,
            commit_seconds: make.histogram(
                "meridian_commit_seconds",
                "Time to make a group commit durable, in seconds",
                seconds,
            )?,
            frame_bytes: make.counters(
                "meridian_replication_bytes_total",
                "Bytes of replication frames, by peer and direction (in, out)",
                &["peer", "direction"],
            )?,
            frames: make.counters(
                "meridian_replication_frames_total",
                "Replication frames, by peer and direction (in, out)",
                &["peer", "direction"],
            )?,
            bad_frames: make.counter(
                "meridian_replication_bad_frames_total",
                "Frames that did not decode or broke the protocol; each closed its link",
            )?,
            refused_peers: make.counter(
                "meridian_replication_refused_peers_total",
                "Handshakes on the replication listener that were refused",
            )?,
            refused_deltas: make.counters(
                "meridian_replication_refused_deltas_total",
                "Log entries of a peer that break the rules and were not stored",
                peer,
            )?,
            horizon_refused: make.counters(
                "meridian_horizon_refused_total",
                "Expiry horizons of a peer that lie in this node's future and were not believed",
                peer,
            )?,
            held_back: make.counters(
                "meridian_replication_held_back_deltas_total",
                "Log entries of a peer that arrive in the future and wait for their time",
                peer,
            )?,
            forks: make.counter(
                "meridian_forks_total",
                "Times that a peer held other entries under this node's id: two processes wrote under it",
            )?,
            rollbacks: make.counter(
                "meridian_rollbacks_total",
                "Times that a peer knew more of this node's log than the node itself: its disk went back in time",
            )?,
            lag_entries: make.ints(
                "meridian_replication_lag_entries",
                "Log entries known here that the peer has not acknowledged",
                peer_region,
            )?,
            lag_seconds: make.gauges(
                "meridian_replication_lag_seconds",
                "Age of the oldest entry of this node that the peer has not acknowledged, in seconds",
                peer_region,
            )?,
            peer_connected: make.ints("meridian_peer_connected", "1 while a link to the peer is up", peer_region)?,
            clock_offset_seconds: make.gauges(
                "meridian_clock_offset_seconds",
                "The peer's clock less this node's, as last heard, in seconds",
                peer_region,
            )?,
            complete_through_seconds: make.gauges(
                "meridian_complete_through_timestamp_seconds",
                "Moment (Unix seconds) through which this node has all that a region acknowledged",
                &["region"],
            )?,
            faults: make.ints(
                "meridian_faults_active",
                "Faults that an operator ordered and that have not ended, by kind",
                &["kind"],
            )?,
            certificate_until: make.gauge(
                "meridian_certificate_until_timestamp_seconds",
                "Moment (Unix seconds) until which peers accept this node's certificate, to the day; 0 if they do not",
            )?,
            expiries: Expiries::register(&registry)?,
            disk_free: make.int(
                "meridian_disk_free_bytes",
                "Bytes that are free on the disk of the data; below storage.reserve_mib no new visits are taken",
            )?,
            drill_fit: make.ints(
                "meridian_drill_fit",
                "1 if the drill could begin at its last check, 0 if it would have been refused",
                &["drill"],
            )?,
            drill_checked: make.gauges(
                "meridian_drill_checked_timestamp_seconds",
                "Moment (Unix seconds) of the last check of a drill",
                &["drill"],
            )?,
            backups: make.counters(
                "meridian_backups_total",
                "Backups that ended, by outcome (whole, client_gone, too_much_changed, late, failed)",
                &["outcome"],
            )?,
            backup_ended: make.gauge(
                "meridian_backup_timestamp_seconds",
                "Moment (Unix seconds) of the end of the last whole backup of this process; 0 if there was none",
            )?,
            backup_kept_bytes: make.int(
                "meridian_backup_kept_bytes",
                "Old values that are kept for the backup that is being made; backup.kept_mib bounds them",
            )?,
            clock_in_doubt: make.int("meridian_clock_in_doubt", "1 while this node does not believe its clock")?,
            forgot_early: make.int(
                "meridian_forgot_early",
                "1 while documents that have not expired may be missing here, because the clock was ahead",
            )?,
            starting: make.int("meridian_starting", "1 while this node waits for its peers to confirm its log")?,
            recovering: make
                .int("meridian_recovering", "1 while this node fetches its own entries back after a roll-back")?,
            trusted_seconds: make.gauge("meridian_trusted_timestamp_seconds", "Trusted time (Unix seconds)")?,
            horizon_seconds: make.gauge(
                "meridian_horizon_timestamp_seconds",
                "Moment (Unix seconds) up to which every expired document is deleted",
            )?,
            live_documents: make.int("meridian_live_documents", "Documents in storage")?,
            tombstones: make.int("meridian_tombstones", "Tombstones in storage")?,
            buckets: make.int("meridian_buckets", "Day buckets in storage, the lasting one included")?,
            registry,
            mirrored: mirror::Mirrored::default(),
        })
    }

    /// For parts that have metrics of their own.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A backup ended.
    pub(crate) fn backed_up(&self, outcome: &'static str) {
        self.backups.with_label_values(&[outcome]).inc();
        if outcome == "whole" {
            self.backup_ended.set(jiff::Timestamp::now().as_duration().as_secs_f64());
        }
    }

    /// Until when peers accept this node's certificate; `None` if they do not accept it at `now`.
    pub(crate) fn certificate_until(&self, now: Wall) -> Option<Moment> {
        let until = Wall((self.certificate_until.get() * 1_000.0) as u64);
        (until > now).then_some(Moment(until))
    }

    /// A request was answered; `route` is a template.
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        let class = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.http_requests.with_label_values(&[route, class]).inc();
        self.http_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A client's write ended.
    pub fn wrote(&self, kind: &str, outcome: &str) {
        self.http_writes.with_label_values(&[kind, outcome]).inc();
    }

    /// An owner read persons in the console; `reason` is one of a few fixed words.
    pub fn released(&self, reason: &str) {
        self.releases.with_label_values(&[reason]).inc();
    }

    /// Keys were destroyed on the disk; `kind` is `early` or `expired`.
    pub(crate) fn destroyed(&self, kind: &str, count: usize) {
        self.erasures.with_label_values(&[kind]).inc_by(count as u64);
    }

    /// A venue that no guest used, or that was closed, was looked after.
    pub(crate) fn kept_up(&self, outcome: &'static str) {
        self.upkeep.with_label_values(&[outcome]).inc();
    }

    /// The replica made a local write durable.
    pub fn written(&self, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Created(_) => "created",
            Outcome::Amended(_) => "amended",
            Outcome::Repeat => "repeat",
            Outcome::Erased(_) => "erased",
            Outcome::AlreadyErased => "already_erased",
        };
        self.writes.with_label_values(&[outcome]).inc();
    }

    /// A frame of `bytes` bytes went to a peer (`out`) or came from it (`in`).
    pub(crate) fn frame_bytes(&self, peer: &NodeName, direction: &str, bytes: usize) {
        let labels = [peer.as_str(), direction];
        self.frame_bytes.with_label_values(&labels).inc_by(bytes as u64);
        self.frames.with_label_values(&labels).inc();
    }

    /// A peer's entry was refused.
    pub(crate) fn refused_delta(&self, peer: &NodeName) {
        self.refused_deltas.with_label_values(&[peer.as_str()]).inc();
    }

    /// A peer's entry has an arrival in the future.
    pub(crate) fn held_back(&self, peer: &NodeName) {
        self.held_back.with_label_values(&[peer.as_str()]).inc();
    }

    /// A peer's horizon was refused.
    pub(crate) fn damage(&self, outcome: &str) {
        self.damage.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn horizon_refused(&self, peer: &NodeName) {
        self.horizon_refused.with_label_values(&[peer.as_str()]).inc();
    }

    /// The faults that are active now, by kind.
    pub fn faults(&self, kinds: impl Iterator<Item = &'static str>) {
        let kinds: Vec<&str> = kinds.collect();
        for kind in Act::KINDS {
            let count = kinds.iter().filter(|active| *active == kind).count();
            self.faults.with_label_values(&[*kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// [`Error`] if a metric cannot be written.
    pub fn render(&self) -> Result<String, Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| Error::Msg(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use replication::{NodeName, Outcome};

    use super::Metrics;

    #[test]
    fn events_are_in_the_text_with_help_and_unit() {
        let metrics = Metrics::new().expect("every name is used once");
        let peer: NodeName = "us-east".parse().expect("a name");
        metrics.answered("/v1/venues", 201, Duration::from_millis(3));
        metrics.wrote("check_in", "created");
        metrics.written(&Outcome::Repeat);
        metrics.frame_bytes(&peer, "out", 100);
        metrics.refused_delta(&peer);
        metrics.horizon_refused(&peer);
        metrics.batch_records.observe(7.0);
        let text = metrics.render().expect("renders");
        for line in [
            "meridian_http_requests_total{route=\"/v1/venues\",status=\"2xx\"} 1",
            "meridian_http_writes_total{kind=\"check_in\",outcome=\"created\"} 1",
            "meridian_writes_total{outcome=\"repeat\"} 1",
            "meridian_replication_bytes_total{direction=\"out\",peer=\"us-east\"} 100",
            "meridian_replication_refused_deltas_total{peer=\"us-east\"} 1",
            "meridian_horizon_refused_total{peer=\"us-east\"} 1",
            "meridian_commit_records_sum 7",
            "meridian_live_documents 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        let own = text.lines().filter(|line| line.starts_with("# HELP meridian_")).count();
        assert!(own > 20, "{own} families");
    }
}
