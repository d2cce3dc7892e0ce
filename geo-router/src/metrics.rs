//! The control plane's metrics. DNS and edge have their own: [`crate::dns::DnsMetrics`], [`crate::edge::EdgeMetrics`].
//!
//! # Invariants
//! - When a region or node goes, its series go. Otherwise dashboards would show it for ever, as it was last.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector as _, MetricVec, MetricVecBuilder};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::fleet::Fleet;
use crate::view::View;
use api::explanation::RegionState;

const STATES: [RegionState; 6] = [
    RegionState::Unknown,
    RegionState::Up,
    RegionState::Ramping,
    RegionState::Drained,
    RegionState::Maintenance,
    RegionState::Down,
];

/// The metrics of the control plane.
#[derive(Debug)]
pub struct ControlMetrics {
    /// Routers that are heard, this one included.
    pub routers_heard: IntGauge,
    /// Times that the configuration file was read again and taken up.
    pub reloads_taken: IntCounter,
    /// Times that the configuration file was read again and refused.
    pub reloads_refused: IntCounter,
    reloads: IntCounterVec,
    epoch: IntGauge,
    state: IntGaugeVec,
    admission: GaugeVec,
    ttl: Gauge,
    frozen: IntGauge,
    fail_open: IntGauge,
    probes: IntCounterVec,
    probe_seconds: HistogramVec,
}

/// Probes of one node.
pub(crate) struct ProbeMetrics {
    good: IntCounter,
    bad: IntCounter,
    seconds: Histogram,
}

impl ProbeMetrics {
    /// A probe ended.
    pub(crate) fn ended(&self, good: bool, took: Duration) {
        if good { &self.good } else { &self.bad }.inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

impl ControlMetrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// [`prometheus::Error`] if a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<ControlMetrics> {
        let name = |name: &str| format!("meridian_router_{name}");
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 11)?;
        let seconds = HistogramOpts::new(name("probe_seconds"), "Time that probes of a node took.").buckets(buckets);
        let reloads = IntCounterVec::new(
            Opts::new(name("reloads_total"), "Times that the configuration file was read again, by result."),
            &["result"],
        )?;
        let metrics = ControlMetrics {
            reloads_taken: reloads.with_label_values(&["taken"]),
            reloads_refused: reloads.with_label_values(&["refused"]),
            reloads,
            routers_heard: IntGauge::new(name("routers_heard"), "Routers that are heard, this one included.")?,
            epoch: IntGauge::new(name("view_epoch"), "Number of the view that answers come from.")?,
            state: IntGaugeVec::new(
                Opts::new(name("region_state"), "1 for the state that a region is in, 0 for the others."),
                &["region", "state"],
            )?,
            admission: GaugeVec::new(
                Opts::new(name("region_admission"), "How much of its share a region takes, 0 to 1."),
                &["region"],
            )?,
            ttl: Gauge::new(name("ttl_seconds"), "TTL of DNS answers that depend on health.")?,
            frozen: IntGauge::new(name("view_frozen"), "1 while too few routers are heard for a verdict.")?,
            fail_open: IntGauge::new(name("fail_open"), "1 while no region is fit and health is ignored.")?,
            probes: IntCounterVec::new(
                Opts::new(name("probes_total"), "Probes of a node by result."),
                &["node", "result"],
            )?,
            probe_seconds: HistogramVec::new(seconds, &["node"])?,
        };
        registry.register(Box::new(metrics.routers_heard.clone()))?;
        registry.register(Box::new(metrics.reloads.clone()))?;
        registry.register(Box::new(metrics.epoch.clone()))?;
        registry.register(Box::new(metrics.state.clone()))?;
        registry.register(Box::new(metrics.admission.clone()))?;
        registry.register(Box::new(metrics.ttl.clone()))?;
        registry.register(Box::new(metrics.frozen.clone()))?;
        registry.register(Box::new(metrics.fail_open.clone()))?;
        registry.register(Box::new(metrics.probes.clone()))?;
        registry.register(Box::new(metrics.probe_seconds.clone()))?;
        Ok(metrics)
    }

    /// The counters of one node's probes.
    pub(crate) fn probes(&self, node: &str) -> ProbeMetrics {
        ProbeMetrics {
            good: self.probes.with_label_values(&[node, "good"]),
            bad: self.probes.with_label_values(&[node, "bad"]),
            seconds: self.probe_seconds.with_label_values(&[node]),
        }
    }

    /// Removes the series of regions and nodes that are not in this fleet.
    pub(crate) fn forget_others(&self, fleet: &Fleet) {
        let has_region = |region: &str| fleet.find(region).is_some();
        let has_node = |node: &str| fleet.nodes().any(|id| fleet.node(id).name.as_str() == node);
        retain(&self.state, |labels| has_region(labels["region"]));
        retain(&self.admission, |labels| has_region(labels["region"]));
        retain(&self.probes, |labels| has_node(labels["node"]));
        retain(&self.probe_seconds, |labels| has_node(labels["node"]));
    }

    /// Copies a view into the metrics.
    pub(crate) fn mirror(&self, view: &View) {
        self.epoch.set(i64::try_from(view.epoch).unwrap_or(i64::MAX));
        self.ttl.set(view.ttl.into());
        self.frozen.set(view.frozen.into());
        self.fail_open.set(view.fail_open.into());
        for (region, seen) in view.fleet.regions.iter().zip(&view.regions) {
            let name = region.name.as_str();
            self.admission.with_label_values(&[name]).set(seen.admission);
            for state in STATES {
                self.state.with_label_values(&[name, state.name()]).set((state == seen.state).into());
            }
        }
    }
}

/// Keeps those series of a metric whose labels are to be kept.
pub(crate) fn retain<B: MetricVecBuilder>(metric: &MetricVec<B>, keep: impl Fn(&HashMap<&str, &str>) -> bool) {
    for family in metric.collect() {
        for series in family.get_metric() {
            let labels: HashMap<&str, &str> = series.get_label().iter().map(|one| (one.name(), one.value())).collect();
            if !keep(&labels) {
                // An error means that another thread has just removed it.
                let _ = metric.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector as _;
    use prometheus::{IntCounterVec, Opts};

    use super::retain;

    #[test]
    fn only_the_series_of_what_is_gone_go() {
        let metric = IntCounterVec::new(Opts::new("answers", "Answers"), &["region", "status"]).unwrap();
        let gone = metric.with_label_values(&["us", "2xx"]);
        for (region, status) in [("eu", "2xx"), ("eu", "5xx"), ("us", "5xx")] {
            metric.with_label_values(&[region, status]).inc();
        }
        retain(&metric, |labels| labels["region"] == "eu");
        // Counting into a series that was removed does not bring it back.
        gone.inc();
        let left = metric.collect();
        assert_eq!(left[0].get_metric().len(), 2);
        assert!(left[0].get_metric().iter().all(|series| series.get_label()[0].value() == "eu"));
    }
}
