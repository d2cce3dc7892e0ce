//! What must hold before a drill begins: it is refused otherwise, with figures.

use std::time::{Duration, Instant};

use api::RegionId;
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::disturb::Disturber;
use super::observe::{Look, Observer};
use super::plan::{Disturbance, Plan};
use super::site::Site;

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

/// Looks at the deployment and judges every condition.
pub(crate) async fn judge(plan: &Plan, site: &Site, by: &str) -> Vec<Check> {
    let observer = Observer::start(plan, site, Instant::now());
    tokio::time::sleep(LOOKS).await;
    let look = std::sync::Arc::clone(&observer.latest.borrow());
    drop(observer);
    let mut checks = vec![
        nodes(site, &look),
        routers(site, &look),
        orders(&look),
        faults(&look),
        lag(plan, &look),
        clocks(plan, &look),
        capacity(plan, site, &look),
        clients(plan, site, &look),
        window(plan, Timestamp::now()),
    ];
    let rehearsed = Disturber { plan, site, by }.rehearse().await;
    let way =
        rehearsed.map_or_else(|error| (false, format!("{error:#}")), |()| (true, "tried, and it works".to_owned()));
    checks.push(check("way back", way.0, way.1));
    checks
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

fn clocks(plan: &Plan, look: &Look) -> Check {
    let offset = look.nodes.values().map(|node| node.clock.offset_ms.unsigned_abs()).max().unwrap_or(0);
    let doubt = look.nodes.values().find(|node| node.clock.in_doubt);
    match doubt {
        Some(node) => check("clocks", false, format!("{} does not believe its clock", node.name)),
        None => {
            let bound = plan.before.clock.as_millis();
            check("clocks", u128::from(offset) <= bound, format!("{offset} ms off at most, bound {bound} ms"))
        }
    }
}

/// Whether the other regions can take what the disturbed one takes now and what the clients of the drill add.
fn capacity(plan: &Plan, site: &Site, look: &Look) -> Check {
    let takes_clients_away =
        matches!(plan.disturbance, Disturbance::Drain(_) | Disturbance::Kill | Disturbance::Faults(_));
    let (Some(region), true) = (&plan.region, takes_clients_away) else {
        return check("capacity", true, "no region loses its clients");
    };
    let load = |region: &RegionId| look.load.get(region).copied().unwrap_or(0.0);
    let survivors: Vec<RegionId> = site.regions().into_iter().filter(|other| other != region).collect();
    let mut spare = 0.0;
    for survivor in &survivors {
        let Some(capacity) = site.capacity.get(survivor) else {
            let advice = "set it in `[capacity]` of the drill, or as `capacity` in the router's configuration";
            return check("capacity", false, format!("that of {survivor} is not known; {advice}"));
        };
        spare += capacity * plan.guards.load - load(survivor);
    }
    let wanted = (load(region) + plan.clients.rate) * plan.before.headroom;
    let detail = format!(
        "{} take {spare:.0} more requests/s within the guard rail; wanted {wanted:.0} ({:.0} of {region} and {:.0} of the drill's clients, times {})",
        survivors.iter().map(RegionId::as_str).collect::<Vec<_>>().join(" and "),
        load(region),
        plan.clients.rate,
        plan.before.headroom,
    );
    check("capacity", spare >= wanted, detail)
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
