//! Checks drills again and again in the steady state, for a node that is configured so: a deployment that could not lose a
//! region is noticed before it does (the model is the plan evaluation of AWS ARC Region switch).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use node::metrics::Metrics;

use super::plan::Plan;
use super::preflight;
use super::site::Site;
use crate::args::Usage;

/// How long a node runs before its first check: the deployment may just be starting.
const FIRST: Duration = Duration::from_secs(15);

/// Reads the drills, and returns what checks them for ever, `every` so often. Without drills it waits for ever.
pub(crate) fn watch(
    files: &[PathBuf],
    every: Duration,
    metrics: Arc<Metrics>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut drills = Vec::new();
    for file in files {
        let plan = Plan::load(file)?;
        let site = Site::named(&plan)?;
        let site = site.ok_or_else(|| Usage::error(format!("drills.check: {} needs `[site]`", file.display())))?;
        drills.push((plan, site));
    }
    Ok(async move {
        if drills.is_empty() {
            return std::future::pending().await;
        }
        let mut rounds = tokio::time::interval_at(tokio::time::Instant::now() + FIRST.min(every), every);
        loop {
            rounds.tick().await;
            for (plan, site) in &drills {
                check(plan, site, &metrics).await;
            }
        }
    })
}

async fn check(plan: &Plan, site: &Site, metrics: &Metrics) {
    let checks = preflight::judge(plan, site).await;
    let fit = checks.iter().all(|check| check.passed);
    for failed in checks.iter().filter(|check| !check.passed) {
        tracing::warn!(
            drill = plan.name,
            condition = failed.name,
            seen = failed.detail,
            action = "mend the condition: the deployment may not survive what the drill takes away",
            "a drill would be refused now"
        );
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics.drill_fit.with_label_values(&[&plan.name]).set(i64::from(fit));
    metrics.drill_checked.with_label_values(&[&plan.name]).set(now.as_secs_f64());
}
