//! What must hold before a drill begins: it is refused otherwise, with figures.

mod capacity;
mod store;

use std::time::{Duration, Instant};

use api::RegionId;
use api::drills::DrillLock;
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Serialize;

pub(crate) use self::capacity::shortage;
use super::disturb::Disturber;
use super::lock;
use super::observe::{Look, Observer};
use super::plan::{Disturbance, Plan};
use super::site::Site;

/// How long a process that seems to be silent is asked again.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the deployment is looked at.
const LOOKS: Duration = Duration::from_millis(2_500);

/// One condition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) passed: bool,
    /// What was seen, and the bound.
    pub(crate) detail: String,
}

fn check(name: &'static str, passed: bool, detail: impl Into<String>) -> Check {
    Check { name, passed, detail: detail.into() }
}

/// Looks at the deployment and judges every condition. It changes nothing; the way back is tried under the lock.
pub(crate) async fn judge(plan: &Plan, site: &Site) -> Vec<Check> {
    let look = look(plan, site).await;
    vec![
        drill(lock::held(site).await),
        nodes(site, &look),
        routers(site, &look),
        orders(&look),
        faults(&look),
        lag(plan, &look),
        clocks(plan, &look, Timestamp::now()),
        certificates(plan, &look, Timestamp::now()),
        capacity::capacity(plan, site, &look).await,
        clients(plan, site, &look),
        window(plan, Timestamp::now()),
        store::left_over(plan, site),
    ]
    .into_iter()
    .chain(store::restore(plan, site))
    .collect()
}

/// Looks at the deployment for as long as rates need.
async fn look(plan: &Plan, site: &Site) -> std::sync::Arc<Look> {
    let observer = Observer::start(plan, site, Instant::now());
    tokio::time::sleep(LOOKS).await;
    // One late answer of a busy machine is no reason to refuse.
    let is_whole = |look: &Look| {
        let nodes = site.nodes.iter().all(|node| look.nodes.contains_key(&node.name));
        let mut routers = site.routers.iter();
        let routers = routers.all(|it| look.routers.contains_key(&it.name) && look.dns.contains_key(&it.name));
        nodes && routers && site.regions().iter().all(|region| look.load.contains_key(region))
    };
    let mut latest = observer.latest.clone();
    let _ = tokio::time::timeout(PATIENCE, latest.wait_for(|look| is_whole(look))).await;
    std::sync::Arc::clone(&observer.latest.borrow())
}

/// Whether the way back works: tried under the lock, because it touches what a drill touches.
pub(crate) async fn way_back(disturber: &Disturber) -> Check {
    let (passed, detail) = match disturber.rehearse().await {
        Ok(()) => (true, "tried, and it works".to_owned()),
        Err(error) => (false, format!("{error:#}")),
    };
    check("way back", passed, detail)
}

fn drill(held: Option<DrillLock>) -> Check {
    match held {
        None => check("drill", true, "no other one runs"),
        Some(lock) => {
            check("drill", false, format!("`{}`, by {}, runs until {} at the latest", lock.name, lock.by, lock.until))
        }
    }
}

fn nodes(site: &Site, look: &Look) -> Check {
    let mut bad = Vec::new();
    for node in &site.nodes {
        match look.nodes.get(&node.name) {
            None => bad.push(format!("{} does not answer", node.name)),
            Some(status) if !status.ready => bad.push(format!("{}: {}", node.name, status.reasons.join(", "))),
            Some(status) => {
                let cut = status.peers.iter().filter(|peer| !peer.connected);
                bad.extend(cut.map(|peer| format!("{} has no link to {}", node.name, peer.name)));
            }
        }
    }
    let good = format!("{} of {} answer, are ready and linked", site.nodes.len(), site.nodes.len());
    check("nodes", bad.is_empty(), if bad.is_empty() { good } else { bad.join("; ") })
}

fn routers(site: &Site, look: &Look) -> Check {
    let mut bad: Vec<String> = site
        .routers
        .iter()
        .filter(|router| !look.routers.contains_key(&router.name))
        .map(|router| format!("{} does not answer", router.name))
        .collect();
    for (name, status) in &look.routers {
        if status.frozen {
            bad.push(format!("{name} hears too few routers to decide"));
        }
        let out = status.regions.iter().filter(|region| region.admission < 1.0);
        bad.extend(out.map(|region| {
            format!("{name}: {} is {} and takes {:.0} %", region.region, region.state, region.admission * 100.0)
        }));
    }
    let good = format!("{} agree that every region takes its whole share", site.routers.len());
    check("routers", bad.is_empty(), if bad.is_empty() { good } else { bad.join("; ") })
}

fn orders(look: &Look) -> Check {
    let drained: Vec<&str> = look.nodes.values().filter(|node| node.drain).map(|node| node.region.as_str()).collect();
    let detail =
        if drained.is_empty() { "no region is drained".to_owned() } else { format!("drained: {}", drained.join(", ")) };
    check("orders", drained.is_empty(), detail)
}

fn faults(look: &Look) -> Check {
    let active: Vec<String> = look
        .nodes
        .values()
        .flat_map(|node| node.faults.iter().map(|fault| format!("{}: {} until {}", node.name, fault.act, fault.until)))
        .collect();
    check("faults", active.is_empty(), if active.is_empty() { "none is active".to_owned() } else { active.join("; ") })
}

fn lag(plan: &Plan, look: &Look) -> Check {
    let (lag, bound) = (look.lag(&|_| false), plan.before.lag.as_secs_f64());
    check("lag", lag <= bound, format!("{lag:.2} s at most, bound {bound:.1} s"))
}

/// The clocks of the nodes, and the clock of this machine, by which orders lapse.
fn clocks(plan: &Plan, look: &Look, now: Timestamp) -> Check {
    if let Some(node) = look.nodes.values().find(|node| node.clock.in_doubt) {
        return check("clocks", false, format!("{} does not believe its clock", node.name));
    }
    let theirs = look.nodes.values().map(|node| node.clock.offset_ms.unsigned_abs()).max().unwrap_or(0);
    // A look is a second old at most.
    let own = now.as_millisecond();
    let ours = look.nodes.values().map(|node| node.clock.trusted_ms.cast_signed().abs_diff(own).saturating_sub(1_000));
    let ours = ours.min().unwrap_or(0);
    let bound = plan.before.clock.as_millis();
    let detail = format!("{theirs} ms off at most, this machine {ours} ms, bound {bound} ms");
    check("clocks", u128::from(theirs.max(ours)) <= bound, detail)
}

/// Whether every certificate is good for long enough: one that ends cuts its node off from all others. A node of the
/// version before does not say.
fn certificates(plan: &Plan, look: &Look, now: Timestamp) -> Check {
    let first = look.nodes.values().filter_map(|node| Some((node.certificate_until?, &node.name))).min();
    let Some((until, name)) = first else {
        return check("certificates", true, "no node says until when they are good");
    };
    let left = Timestamp::from(until).duration_since(now).as_secs();
    let days = left / 86_400;
    let bound = plan.before.certificates.as_secs().cast_signed();
    check(
        "certificates",
        left >= bound,
        format!("good for {days} days at least ({name}), bound {} days", bound / 86_400),
    )
}

/// Whether the drill's clients would notice: DNS leads some of them to the region, and its answers name nodes.
fn clients(plan: &Plan, site: &Site, look: &Look) -> Check {
    let by_dns = plan.clients.ttl + plan.clients.pinned > 0;
    let led: std::collections::BTreeSet<&RegionId> = look.dns.values().flatten().collect();
    if by_dns && led.is_empty() {
        return check("clients", false, "no name server answers an address of a node");
    }
    if plan.disturbance == Disturbance::KillRouter && site.routers.len() < 2 {
        return check("clients", false, "there is one router: its loss would be an outage; run two or three");
    }
    match &plan.region {
        Some(region) if by_dns && !led.contains(region) => {
            check("clients", false, format!("DNS leads none of `clients.networks` to {region}"))
        }
        _ => check("clients", true, format!("led to {} regions", led.len().max(1))),
    }
}

fn window(plan: &Plan, now: Timestamp) -> Check {
    let Some((from, until)) = plan.before.window else { return check("window", true, "always") };
    let time = now.to_zoned(TimeZone::UTC).time();
    check(
        "window",
        within(from, until, time),
        format!("{} UTC; allowed from {from} until {until}", time.strftime("%H:%M")),
    )
}

/// Whether a time is within a window that may span midnight.
fn within(from: Time, until: Time, time: Time) -> bool {
    if from <= until { from <= time && time < until } else { time >= from || time < until }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::within;

    #[test]
    fn a_window_may_span_midnight() {
        let at = |hour| time(hour, 0, 0, 0);
        assert!(within(at(8), at(18), at(8)) && !within(at(8), at(18), at(18)));
        assert!(within(at(22), at(4), at(23)) && within(at(22), at(4), at(3)) && !within(at(22), at(4), at(12)));
    }
}
