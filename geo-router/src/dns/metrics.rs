//! The DNS server's metrics, and one tally for each thread, because updating shared counters for each query would cost too
//! much.
//!
//! # Invariants
//! - Labels are transports, types, codes, regions and reasons; never a name that was asked for or an address.
//! - Each thread counts in plain numbers of its own and adds them to the metrics a few times per second.
//! - Counts by region are of one fleet. They are added under its names before the first count of another fleet.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::answer::{Answered, QueryOutcome, Transport};
use super::cookie::Proof;
use super::dnssec::{Made, Validity};
use super::query::DropReason;
use super::reply::Routed;
use super::wire::{Rcode, TYPE_A, TYPE_AAAA, TYPE_ANY, TYPE_DNSKEY, TYPE_DS, TYPE_HINFO, TYPE_NS, TYPE_SOA, TYPE_TXT};
use crate::fleet::Fleet;
use crate::metrics::retain;
use api::explanation::AddressSource;
use api::explanation::RouteReason;

/// Types with a label of their own.
const KINDS: [(u16, &str); 9] = [
    (TYPE_A, "A"),
    (TYPE_AAAA, "AAAA"),
    (TYPE_NS, "NS"),
    (TYPE_SOA, "SOA"),
    (TYPE_TXT, "TXT"),
    (TYPE_ANY, "ANY"),
    (TYPE_HINFO, "HINFO"),
    (TYPE_DS, "DS"),
    (TYPE_DNSKEY, "DNSKEY"),
];
const REASONS: [RouteReason; 4] =
    [RouteReason::Preferred, RouteReason::Failover, RouteReason::Split, RouteReason::FailOpen];
const PROOFS: [(Proof, &str); 3] = [(Proof::New, "new"), (Proof::Good, "good"), (Proof::Bad, "bad")];
const DROPS: [DropReason; 3] = [DropReason::Short, DropReason::Response, DropReason::Limited];

/// All metrics of the DNS server.
#[derive(Clone, Debug)]
pub struct DnsMetrics {
    queries: IntCounterVec,
    responses: IntCounterVec,
    routed: IntCounterVec,
    unknown_location: IntCounterVec,
    client_subnet: IntCounterVec,
    cookies: IntCounterVec,
    truncated: IntCounterVec,
    dropped: IntCounterVec,
    slipped: IntCounter,
    /// Answers that the operating system refused.
    pub(super) unsent: IntCounter,
    /// Open connections by transport.
    pub(super) connections: IntGaugeVec,
    /// Connections that were closed at once because too many were open.
    pub(super) refused_connections: IntCounterVec,
    /// Views from which no answers could be built.
    pub(super) bad_views: IntCounter,
    signatures: IntCounterVec,
    signatures_end: IntGaugeVec,
}

impl DnsMetrics {
    /// Makes and registers all metrics of the DNS server.
    ///
    /// # Errors
    /// [`prometheus::Error`] if the registry has them already.
    pub fn register(registry: &Registry) -> prometheus::Result<DnsMetrics> {
        fn keep<C: Collector + Clone + 'static>(registry: &Registry, made: C) -> prometheus::Result<C> {
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        }
        let counters = |name: &str, help: &str, labels: &[&str]| {
            keep(registry, IntCounterVec::new(Opts::new(format!("meridian_router_dns_{name}"), help), labels)?)
        };
        let counter =
            |name: &str, help: &str| keep(registry, IntCounter::new(format!("meridian_router_dns_{name}"), help)?);
        Ok(DnsMetrics {
            queries: counters("queries_total", "Queries by transport and type", &["transport", "type"])?,
            responses: counters("responses_total", "Answers by transport and code", &["transport", "rcode"])?,
            routed: counters("answers_total", "Clients sent to a region, by reason", &["region", "reason"])?,
            unknown_location: counters(
                "unknown_location_total",
                "Clients sent to a region although their location is unknown, by source of the address",
                &["source"],
            )?,
            client_subnet: counters("client_subnet_total", "Queries that carried a client's subnet", &["transport"])?,
            cookies: counters(
                "cookies_total",
                "Queries that carried a cookie, by what it showed: no cookie of ours yet (new), an address that is not \
                 forged (good), nothing because it was not ours or too old (bad)",
                &["transport", "proof"],
            )?,
            truncated: counters("truncated_total", "Answers that did not fit and were left out", &["transport"])?,
            dropped: counters("dropped_total", "Messages without an answer", &["transport", "reason"])?,
            slipped: counter("rate_limited_truncated_total", "Queries above the limit that were told to use TCP")?,
            unsent: counter("unsent_total", "Answers that the operating system refused")?,
            connections: keep(
                registry,
                IntGaugeVec::new(
                    Opts::new("meridian_router_dns_connections", "Open connections by transport"),
                    &["transport"],
                )?,
            )?,
            refused_connections: counters(
                "refused_connections_total",
                "Connections closed at once because too many were open, in all or from one network",
                &["transport"],
            )?,
            bad_views: counter("bad_views_total", "Views from which no answers could be built")?,
            signatures: counters(
                "signatures_total",
                "DNSSEC signatures: made before a query needed them (ahead), made for a query (asked), not made because there \
                 were too many in that second, so that the client was told to use TCP (refused)",
                &["result"],
            )?,
            signatures_end: keep(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "meridian_router_dns_signatures_end_seconds",
                        "When the DNSSEC signatures that are answered end, in seconds since 1970; between three and four \
                         days ahead",
                    ),
                    &[],
                )?,
            )?,
        })
    }

    /// Shows the signatures since the start, and until when those of the present answers hold. One task calls this.
    pub(super) fn show_signatures(&self, made: Made, validity: Validity) {
        for (result, count) in [("ahead", made.ahead), ("asked", made.asked), ("refused", made.refused)] {
            let counter = self.signatures.with_label_values(&[result]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.signatures_end.with_label_values(&[] as &[&str]).set(validity.expiration.into());
    }

    /// Removes the series of regions that are not in this fleet.
    pub(super) fn forget_others(&self, fleet: &Fleet) {
        retain(&self.routed, |labels| fleet.find(labels["region"]).is_some());
    }
}

impl Transport {
    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

/// Counts of one thread or connection that are not in the metrics yet.
#[derive(Debug)]
pub(super) struct Tally {
    transport: Transport,
    metrics: Arc<DnsMetrics>,
    /// The last entry counts all other types.
    kinds: [u64; KINDS.len() + 1],
    rcodes: [u64; Rcode::ALL.len()],
    drops: [u64; DROPS.len()],
    regions: Vec<[u64; REASONS.len()]>,
    /// The fleet of these regions.
    fleet: Option<Arc<Fleet>>,
    /// By client subnet, and by resolver.
    unknown: [u64; 2],
    subnets: u64,
    cookies: [u64; PROOFS.len()],
    truncated: u64,
    slipped: u64,
}

impl Tally {
    pub(super) fn new(transport: Transport, metrics: Arc<DnsMetrics>) -> Tally {
        Tally {
            transport,
            metrics,
            kinds: Default::default(),
            rcodes: Default::default(),
            drops: Default::default(),
            regions: Vec::new(),
            fleet: None,
            unknown: Default::default(),
            subnets: 0,
            cookies: Default::default(),
            truncated: 0,
            slipped: 0,
        }
    }

    /// A query was answered or dropped; `fleet` is the one of the answers that it was answered from.
    pub(super) fn count(&mut self, outcome: &QueryOutcome, fleet: &Arc<Fleet>) {
        match outcome {
            QueryOutcome::Answered(answered) => self.answered(answered, fleet),
            QueryOutcome::Dropped(reason) => {
                self.drops[DROPS.iter().position(|known| known == reason).unwrap_or_default()] += 1;
            }
        }
    }

    /// A query above the limit was told to use TCP.
    pub(super) fn slipped(&mut self) {
        self.slipped += 1;
    }

    fn answered(&mut self, answered: &Answered, fleet: &Arc<Fleet>) {
        let kind = KINDS.iter().position(|(known, _)| Some(*known) == answered.kind);
        self.kinds[kind.unwrap_or(KINDS.len())] += 1;
        self.rcodes[Rcode::ALL.iter().position(|known| *known == answered.rcode).unwrap_or_default()] += 1;
        self.subnets += u64::from(answered.subnet);
        self.truncated += u64::from(answered.truncated);
        if let Some(at) = PROOFS.iter().position(|(proof, _)| Some(*proof) == answered.cookie) {
            self.cookies[at] += 1;
        }
        if let Some(Routed { region, reason, source, known }) = answered.routed {
            if !self.fleet.as_ref().is_some_and(|known| Arc::ptr_eq(known, fleet)) {
                self.flush_regions(fleet);
                self.fleet = Some(Arc::clone(fleet));
            }
            if self.regions.len() <= region.at() {
                self.regions.resize(region.at() + 1, Default::default());
            }
            self.regions[region.at()][REASONS.iter().position(|one| *one == reason).unwrap_or_default()] += 1;
            if !known {
                self.unknown[usize::from(source != AddressSource::ClientSubnet)] += 1;
            }
        }
    }

    /// Adds everything to the metrics; `fleet` is the present one.
    pub(super) fn flush(&mut self, fleet: &Fleet) {
        self.flush_regions(fleet);
        let transport = self.transport.name();
        let metrics = &self.metrics;
        for (at, count) in self.kinds.iter_mut().enumerate() {
            add(&metrics.queries, &[transport, KINDS.get(at).map_or("other", |(_, name)| name)], count);
        }
        for (rcode, count) in Rcode::ALL.iter().zip(&mut self.rcodes) {
            add(&metrics.responses, &[transport, rcode.name()], count);
        }
        for (reason, count) in DROPS.iter().zip(&mut self.drops) {
            add(&metrics.dropped, &[transport, reason.name()], count);
        }
        for (source, count) in ["client-subnet", "resolver"].iter().zip(&mut self.unknown) {
            add(&metrics.unknown_location, &[source], count);
        }
        for ((_, proof), count) in PROOFS.iter().zip(&mut self.cookies) {
            add(&metrics.cookies, &[transport, proof], count);
        }
        add(&metrics.client_subnet, &[transport], &mut self.subnets);
        add(&metrics.truncated, &[transport], &mut self.truncated);
        metrics.slipped.inc_by(std::mem::take(&mut self.slipped));
    }

    /// Adds the counts by region. A region that is not in the present fleet has no series any more, so its counts go too.
    fn flush_regions(&mut self, present: &Fleet) {
        let Some(fleet) = &self.fleet else { return };
        for (region, counts) in fleet.regions.iter().zip(&mut self.regions) {
            if present.find(region.name.as_str()).is_none() {
                *counts = Default::default();
            }
            for (reason, count) in REASONS.iter().zip(counts) {
                add(&self.metrics.routed, &[region.name.as_str(), reason.name()], count);
            }
        }
        self.regions.clear();
    }
}

fn add(counters: &IntCounterVec, labels: &[&str], count: &mut u64) {
    if *count > 0 {
        counters.with_label_values(labels).inc_by(std::mem::take(count));
    }
}

impl DropReason {
    fn name(self) -> &'static str {
        match self {
            DropReason::Short => "short",
            DropReason::Response => "response",
            DropReason::Limited => "rate-limited",
        }
    }
}
