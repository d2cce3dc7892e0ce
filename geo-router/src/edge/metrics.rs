//! The edge's Prometheus metrics: one struct, registered once.
//!
//! # Invariants
//! - Labels are regions, nodes and kinds; never a path, a venue or a client.

use prometheus::core::Collector;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use super::breaker::Reason;
use super::streams::StreamEnd;
use crate::fleet::Fleet;
use crate::metrics::retain;
use service::ended::EndedConnections;

/// The region of an answer that no present region gave.
const EDGE: &str = "edge";

/// All metrics of the edge.
#[derive(Debug)]
pub struct EdgeMetrics {
    requests: IntCounterVec,
    retries: IntCounterVec,
    retries_refused: IntCounterVec,
    refused: IntCounterVec,
    breakers: IntGaugeVec,
    hedges: IntCounterVec,
    exclusions: IntCounterVec,
    exclusions_refused: IntCounterVec,
    cache: IntCounterVec,
    streams_ended: IntCounterVec,
    upstream_seconds: HistogramVec,
    /// Requests of clients whose location is unknown.
    pub unknown_location: IntCounter,
    /// Client connections that are open.
    pub connections: IntGauge,
    /// Connections that this router refused or closed, by listener and reason.
    pub ended: EndedConnections,
    /// Connections that hold no buffers, because nothing is on its way.
    pub resting: IntGauge,
    /// Connections that were upgraded and are open.
    pub upgraded: IntGauge,
    /// TLS handshakes that failed.
    pub handshakes_failed: IntCounter,
    /// Answers that broke off after their head was sent.
    pub broke_off: IntCounter,
    /// Bytes of answers in the cache.
    pub cache_bytes: IntGauge,
    /// Connections opened to nodes.
    pub connects: IntCounter,
}

impl EdgeMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// [`prometheus::Error`] if the registry has them already.
    pub fn register(registry: &Registry) -> prometheus::Result<EdgeMetrics> {
        let name = |name: &str| format!("meridian_router_edge_{name}");
        let opts = |short: &str, help: &str| Opts::new(name(short), help);
        let counters = |short, help, labels: &[&str]| keep(registry, IntCounterVec::new(opts(short, help), labels));
        let gauge = |short, help| keep(registry, IntGauge::with_opts(opts(short, help)));
        let counter = |short, help| keep(registry, IntCounter::with_opts(opts(short, help)));
        let seconds = HistogramOpts::from(opts(
            "upstream_seconds",
            "Seconds from sending a request to a node to the head of its answer, by region",
        ))
        .buckets(exponential_buckets(0.0005, 2.0, 16)?);
        let ended = EndedConnections::new("meridian_router")?;
        registry.register(Box::new(ended.collector()))?;
        Ok(EdgeMetrics {
            ended,
            requests: counters(
                "requests_total",
                "Answers by region (edge: of no present region) and status class",
                &["region", "status"],
            )?,
            retries: counters("retries_total", "Attempts after the first, by outcome of the one before", &["reason"])?,
            retries_refused: counters(
                "retries_refused_total",
                "Attempts after the first that the retry budget refused, by outcome of the one before",
                &["reason"],
            )?,
            refused: counters("refused_total", "Requests that the edge refused to forward", &["reason"])?,
            breakers: keep(
                registry,
                IntGaugeVec::new(opts("breaker_state", "0 closed, 1 half-open, 2 open"), &["region", "node"]),
            )?,
            hedges: counters(
                "hedges_total",
                "Requests that were sent to a second node because the first was slow: sent, and of these won or lost",
                &["result"],
            )?,
            exclusions: counters(
                "exclusions_total",
                "Times that a node was excluded because it failed requests, by reason",
                &["region", "node", "reason"],
            )?,
            exclusions_refused: counters(
                "exclusions_refused_total",
                "Failures after which a node was not excluded because too few others serve",
                &["region", "node"],
            )?,
            cache: counters("cache_total", "Requests that may be answered from the cache, by result", &["result"])?,
            streams_ended: counters(
                "streams_ended_total",
                "Streams of events that the edge ended, by reason",
                &["reason"],
            )?,
            upstream_seconds: keep(registry, HistogramVec::new(seconds, &["region"]))?,
            unknown_location: counter(
                "unknown_location_total",
                "Requests of clients whose location is unknown, so that a stable hash chose their region",
            )?,
            connections: gauge("connections", "Client connections that are open")?,
            resting: gauge("resting_connections", "Client connections without buffers: nothing is on its way on them")?,
            upgraded: gauge("upgraded_connections", "Upgraded connections that are open")?,
            handshakes_failed: counter("tls_handshakes_failed_total", "TLS handshakes that failed")?,
            broke_off: counter("answers_broken_off_total", "Answers that broke off after their head was sent")?,
            cache_bytes: gauge("cache_bytes", "Bytes of answers in the cache")?,
            connects: counter("upstream_connects_total", "Connections opened to nodes")?,
        })
    }

    /// An answer was sent; `region` is the present region that gave it.
    pub(super) fn answered(&self, region: Option<&str>, status: hyper::StatusCode) {
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[region.unwrap_or(EDGE), class]).inc();
    }

    pub(super) fn retried(&self, reason: &str) {
        self.retries.with_label_values(&[reason]).inc();
    }

    pub(super) fn retry_refused(&self, reason: &str) {
        self.retries_refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn cached(&self, result: &str) {
        self.cache.with_label_values(&[result]).inc();
    }

    pub(super) fn stream_ended(&self, why: StreamEnd) {
        self.streams_ended.with_label_values(&[why.name()]).inc();
    }

    /// How long the nodes of a region take. The tables of a fleet keep it, so that no request looks it up.
    pub(super) fn upstream(&self, region: &str) -> Histogram {
        self.upstream_seconds.with_label_values(&[region])
    }

    pub(super) fn hedged(&self, result: &str) {
        self.hedges.with_label_values(&[result]).inc();
    }

    pub(super) fn excluded(&self, region: &str, node: &str, reason: Reason) {
        self.exclusions.with_label_values(&[region, node, reason.name()]).inc();
    }

    /// A node that should have been excluded was kept.
    pub(super) fn kept(&self, region: &str, node: &str) {
        self.exclusions_refused.with_label_values(&[region, node]).inc();
    }

    /// The series of one node's breaker.
    pub(super) fn breaker(&self, region: &str, node: &str) -> IntGauge {
        self.breakers.with_label_values(&[region, node])
    }

    /// Removes the series of regions and nodes that are not in this fleet.
    pub(super) fn forget_others(&self, fleet: &Fleet) {
        retain(&self.requests, |labels| labels["region"] == EDGE || fleet.find(labels["region"]).is_some());
        retain(&self.upstream_seconds, |labels| fleet.find(labels["region"]).is_some());
        let is_node = |region: &str, node: &str| {
            let region = fleet.find(region).map(|region| fleet.region(region));
            region.is_some_and(|region| region.nodes.iter().any(|one| one.name.as_str() == node))
        };
        retain(&self.breakers, |labels| is_node(labels["region"], labels["node"]));
        retain(&self.exclusions, |labels| is_node(labels["region"], labels["node"]));
        retain(&self.exclusions_refused, |labels| is_node(labels["region"], labels["node"]));
    }
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C, Error>) -> Result<C, Error> {
    let made = made?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

/// Counts something for as long as this exists.
pub(super) struct Counted(IntGauge);

impl Counted {
    pub(super) fn new(gauge: &IntGauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
