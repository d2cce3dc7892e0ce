//! `meridian region drain`, `restore` and `list`: whether clients are sent to a region.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::args::{Usage, duration};
use crate::drill;
use crate::support::deployment;
use crate::support::options::{Nodes, Signature};
use crate::support::table::table;
use api::client::{self, Call};
use api::orders::{NewOrder, OrderKind, RegionOrder};
use api::status::{RoutedRegion, RouterStatus};
use api::{Moment, RegionId};

/// Options of `meridian region drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The region, such as us-east
    region: String,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    signature: Signature,
    /// When the order lapses by itself, such as 2h; without it, it holds until `region restore`
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasting: Option<Duration>,
    /// Per cent of its clients that the region keeps, for a drain in steps
    #[arg(long, value_name = "PERCENT", default_value_t = 0, conflicts_with = "maintenance",
        value_parser = clap::value_parser!(u8).range(0..=99))]
    keep: u8,
    /// Send nothing there at all, not even the rest of running requests
    #[arg(long)]
    maintenance: bool,
    /// Give the order even if fewer regions are left to serve than `admin.least_regions` asks for (regions that are
    /// drained or down do not serve), or if they have no room for the region's present load (as far as the routers'
    /// configuration says what they can take)
    #[arg(long)]
    force: bool,
}

/// Options of `meridian region restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The region, such as us-east
    region: String,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    signature: Signature,
}

/// Options of `meridian region list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    nodes: Nodes,
    /// Print the node's answer as a JSON array
    #[arg(long)]
    json: bool,
}

/// Drains a region, or puts it under maintenance.
pub(crate) async fn drain(args: DrainArgs) -> anyhow::Result<ExitCode> {
    let until = args.lasting.map(|time| Timestamp::now().checked_add(time)).transpose();
    let until = until.map_err(|_| Usage::error("--for is too long"))?;
    // Routers of a deployment say which regions serve and what they can take; a node's address says nothing of them.
    if !args.force
        && args.nodes.admin.is_empty()
        && let Ok(region) = args.region.parse()
    {
        let data = &args.nodes.data;
        if let Some(states) = none_left(&routers_see(data).await, &region) {
            anyhow::bail!(
                "no other region would be left to serve: by the routers {states}; give --force if that is what you want"
            );
        }
        if let Some(shortage) = drill::shortage(data, &region).await.unwrap_or_default() {
            anyhow::bail!(
                "the other regions have no room for {region}: {shortage}; give --force if that is what you want"
            );
        }
    }
    let (by, reason) = args.signature.parts();
    let order = NewOrder {
        kind: if args.maintenance { OrderKind::Maintenance } else { OrderKind::Drained },
        keep: args.keep,
        by,
        reason,
        until: until.map(Moment::from),
        force: args.force,
    };
    give(&args.nodes, &args.region, &order).await
}

/// What the routers of the deployment in `data` say, as far as they answer.
async fn routers_see(data: &Path) -> Vec<RouterStatus> {
    let mut asking = JoinSet::new();
    for router in deployment::router_admins(data).unwrap_or_default() {
        // A router that does not answer has no say. The node that takes the order looks as well.
        asking.spawn(async move { client::get(&router, "/v1/admin/status").await.ok() });
    }
    asking.join_all().await.into_iter().flatten().collect()
}

/// The states of the other regions if no router sends clients to any of them; `None` if one does, or if no router
/// answers.
fn none_left(routers: &[RouterStatus], region: &RegionId) -> Option<String> {
    let others = |router: &RouterStatus| -> Vec<RoutedRegion> {
        router.regions.iter().filter(|other| other.region != *region).cloned().collect()
    };
    if routers.iter().flat_map(others).any(|other| other.state.serves()) {
        return None;
    }
    let states = others(routers.first()?);
    let states: Vec<String> = states.iter().map(|other| format!("{} is {}", other.region, other.state)).collect();
    Some(if states.is_empty() { "there is no other one".to_owned() } else { states.join(", ") })
}

/// Takes a region back into service.
pub(crate) async fn restore(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let (by, reason) = args.signature.parts();
    let order = NewOrder { kind: OrderKind::Serving, keep: 0, by, reason, until: None, force: false };
    give(&args.nodes, &args.region, &order).await
}

async fn give(nodes: &Nodes, region: &str, order: &NewOrder) -> anyhow::Result<ExitCode> {
    if region.parse::<RegionId>().is_err() {
        return Err(Usage::error(format!("`{region}` is not the name of a region; `meridian region list` shows them")));
    }
    let call = Call::new(Method::PUT, format!("/v1/admin/regions/{region}/order")).json(order)?;
    let line: RegionOrder = nodes.ask(&call).await?.json()?;
    let what = match order.kind {
        OrderKind::Serving => "serves again; its clients come back step by step",
        OrderKind::Maintenance => "is under maintenance: nothing is sent there",
        OrderKind::Drained => "is drained: new clients go elsewhere; connections and requests that exist end normally",
    };
    say!("{} {what}.", line.region);
    if order.keep > 0 {
        say!("It keeps {} % of its clients.", order.keep);
    }
    if let Some(until) = line.order.and_then(|order| order.until) {
        say!("The order lapses at {until}.");
    } else if order.kind != OrderKind::Serving {
        say!("It holds until: meridian region restore {region}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the orders of operators.
pub(crate) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let lines: Vec<RegionOrder> = args.nodes.ask(&Call::get("/v1/admin/regions")).await?.json()?;
    if args.json {
        say!("{}", serde_json::to_string(&lines)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(&["region", "drained now", "last order", "since", "until", "by", "reason"]);
    for line in lines {
        let drain = if line.drain { "yes" } else { "no" }.to_owned();
        let text = |given: Option<String>| given.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        let row = match line.order {
            Some(order) => {
                let until = order.until.map(|until| until.to_string());
                let kind = if order.keep == 0 {
                    order.kind.to_string()
                } else {
                    format!("{}, keeps {} %", order.kind, order.keep)
                };
                [kind, order.since.to_string(), text(until), text(order.by), text(order.reason)]
            }
            None => [(); 5].map(|()| text(None)),
        };
        rows.add_row([line.region.to_string(), drain].into_iter().chain(row));
    }
    say!("{rows}");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use api::explanation::RegionState;
    use api::status::{RoutedRegion, RouterStatus};

    use super::none_left;

    fn router(states: [(&str, RegionState); 3]) -> RouterStatus {
        let region = |(name, state): (&str, RegionState)| RoutedRegion {
            region: name.parse().unwrap(),
            state,
            admission: 1.0,
            order: None,
            nodes: Vec::new(),
        };
        RouterStatus {
            name: "router-1".to_owned(),
            epoch: 1,
            ttl: 5,
            frozen: false,
            fail_open: false,
            heard: Vec::new(),
            regions: states.into_iter().map(region).collect(),
            prefixes: (0, 0),
        }
    }

    #[test]
    fn a_region_that_is_down_is_not_left_to_serve() {
        let (up, down, drained) = (RegionState::Up, RegionState::Down, RegionState::Drained);
        let eu = "eu".parse().unwrap();
        let alone = router([("eu", up), ("us", down), ("ap", drained)]);
        let others = router([("eu", up), ("us", up), ("ap", down)]);
        assert_eq!(none_left(std::slice::from_ref(&alone), &eu).unwrap(), "us is down, ap is drained");
        assert_eq!(none_left(std::slice::from_ref(&others), &eu), None);
        assert_eq!(none_left(&[alone, others], &eu), None, "one router sends clients to another region");
        assert_eq!(none_left(&[], &eu), None, "no router has a say");
    }
}
