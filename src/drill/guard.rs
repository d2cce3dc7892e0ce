//! Guard rails: what ends a drill at once, whatever it has still to show.

use std::time::Duration;

use api::RegionId;

use super::clients::Scene;
use super::ledger::ClientKind;
use super::observe::{Look, Observer};
use super::plan::{Disturbance, Plan};

/// How often the guard rails are looked at. A breach is restored at once, so within two seconds.
const EVERY: Duration = Duration::from_millis(250);

/// The window of rates and percentiles.
const WINDOW: Duration = Duration::from_secs(5);

/// Fewer check-ins in a window say nothing about their share.
const LEAST: usize = 20;

/// How long a process that the drill does not disturb may be silent or not ready.
const SILENT: Duration = Duration::from_secs(5);

/// How old a look at the deployment may be.
const BLIND: Duration = Duration::from_secs(10);

/// Watches until a bound is broken; returns which one, with its figures.
pub(crate) struct Guard<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) scene: &'a Scene,
    pub(crate) observer: &'a Observer,
}

/// Since when each bound that needs time has been broken.
#[derive(Default)]
struct Since {
    slow: Option<Duration>,
    disagreed: Option<Duration>,
    silent: Option<Duration>,
}

impl Guard<'_> {
    /// Resolves at the first breach.
    pub(crate) async fn watch(&self) -> String {
        let mut ticks = tokio::time::interval(EVERY);
        let mut since = Since::default();
        loop {
            ticks.tick().await;
            if let Some(breach) = self.breach(&mut since) {
                return breach;
            }
        }
    }

    fn breach(&self, since: &mut Since) -> Option<String> {
        let now = self.scene.start.elapsed();
        let ended = self.scene.ledger.ended(ClientKind::Edge, now.saturating_sub(WINDOW));
        let waits = self.scene.ledger.waits(ClientKind::Edge, now);
        let look = std::sync::Arc::clone(&self.observer.latest.borrow());
        let regions: Vec<String> = look.disagreements().iter().map(ToString::to_string).collect();
        let differ = (!regions.is_empty()).then(|| format!("routers disagree about {}", regions.join(", ")));
        // What a look saw may be as old as its beginning.
        let blind = now.saturating_sub(look.began);
        self.failed(&ended)
            .or_else(|| lasting(&mut since.slow, now, WINDOW, self.slow(&ended, &waits)))
            .or_else(|| self.load(&look))
            .or_else(|| self.lag(&look))
            .or_else(|| lasting(&mut since.disagreed, now, self.plan.guards.disagreement, differ))
            .or_else(|| lasting(&mut since.silent, now, SILENT, self.silent(&look)))
            .or_else(|| (blind > BLIND).then(|| format!("the deployment was not looked at for {} s", blind.as_secs())))
    }

    fn failed(&self, ended: &[(bool, Duration)]) -> Option<String> {
        let failed = ended.iter().filter(|(good, _)| !good).count();
        let share = failed as f64 / ended.len().max(1) as f64;
        (ended.len() >= LEAST && share > self.plan.guards.failed).then(|| {
            let bound = self.plan.guards.failed * 100.0;
            format!("{failed} of {} check-ins through the edge failed in 5 s, above {bound:.0} %", ended.len())
        })
    }

    /// Check-ins that still wait count with the time that they have waited, otherwise a service in which all hang would
    /// look as fast as it was before.
    fn slow(&self, ended: &[(bool, Duration)], waits: &[Duration]) -> Option<String> {
        let mut took: Vec<Duration> = ended.iter().map(|(_, took)| *took).chain(waits.iter().copied()).collect();
        took.sort_unstable();
        let p99 = *took.get((took.len() * 99 / 100).min(took.len().checked_sub(1)?))?;
        let bound = self.plan.guards.p99;
        (p99 > bound).then(|| {
            format!("p99 of check-ins through the edge is {} ms, above {} ms", p99.as_millis(), bound.as_millis())
        })
    }

    /// A process that the drill does not disturb and that does not answer, or is not ready.
    fn silent(&self, look: &Look) -> Option<String> {
        let nodes = self.scene.site.nodes.iter().filter(|node| !self.is_disturbed(&node.region));
        let mut silent = nodes.filter(|node| !look.nodes.get(&node.name).is_some_and(|status| status.ready));
        if let Some(node) = silent.next() {
            return Some(format!("{}, which is not disturbed, is silent or not ready", node.name));
        }
        let killed = usize::from(self.plan.disturbance == Disturbance::KillRouter);
        let routers = &self.scene.site.routers[..self.scene.site.routers.len() - killed];
        let silent = routers.iter().find(|router| !look.routers.contains_key(&router.name))?;
        Some(format!("{}, which is not disturbed, is silent", silent.name))
    }

    /// Whether a surviving region takes more than the agreed part of its capacity.
    fn load(&self, look: &Look) -> Option<String> {
        let survivors = look.load.iter().filter(|(region, _)| !self.is_disturbed(region));
        survivors.filter_map(|(region, load)| Some((region, *load, self.scene.site.capacity.get(region)?))).find_map(
            |(region, load, capacity)| {
                let bound = capacity * self.plan.guards.load;
                (load > bound).then(|| format!("{region} takes {load:.0} requests/s, above {bound:.0}"))
            },
        )
    }

    fn lag(&self, look: &Look) -> Option<String> {
        let lag = look.lag(&|region| self.is_disturbed(region));
        let bound = self.plan.guards.lag.as_secs_f64();
        (lag > bound).then(|| format!("nodes that are not disturbed lag by {lag:.1} s, above {bound:.1} s"))
    }

    /// Whether what is seen of a region is the drill's own doing.
    fn is_disturbed(&self, region: &RegionId) -> bool {
        self.plan.region.as_ref() == Some(region) || self.scene.restarting.lock().as_ref() == Some(region)
    }
}

/// Returns a breach once it has lasted for `long`.
fn lasting(since: &mut Option<Duration>, now: Duration, long: Duration, breach: Option<String>) -> Option<String> {
    let Some(breach) = breach else {
        *since = None;
        return None;
    };
    let begun = *since.get_or_insert(now);
    (now.saturating_sub(begun) >= long).then(|| format!("{breach}, for {:.0} s", (now - begun).as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::lasting;

    #[test]
    fn a_breach_that_ends_in_between_begins_anew() {
        let [mut since, long] = [None, Some(Duration::from_secs(5))];
        let long = long.unwrap_or_default();
        let mut at = |second, breach: bool| {
            lasting(&mut since, Duration::from_secs(second), long, breach.then(|| "slow".to_owned()))
        };
        assert_eq!([at(0, true), at(4, true), at(5, false), at(6, true), at(10, true)], [None, None, None, None, None]);
        assert_eq!(at(11, true).as_deref(), Some("slow, for 5 s"));
    }
}
