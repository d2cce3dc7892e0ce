//! `meridian region drain`, `restore` and `list`: whether clients are sent to a region.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use jiff::Timestamp;

use crate::args::{Usage, duration};
use crate::drill;
use crate::support::options::{Nodes, Signature};
use crate::support::table::table;
use api::client::Call;
use api::orders::{NewOrder, OrderKind, RegionOrder};
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
    /// Give the order even if fewer regions are left to serve than `admin.least_regions` asks for, or if they have no
    /// room for the region's present load (as far as the routers' configuration says what they can take)
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
    // Routers of a deployment say what regions can take; a node's address says nothing of them.
    if !args.force
        && args.nodes.admin.is_empty()
        && let Ok(region) = args.region.parse()
        && let Some(shortage) = drill::shortage(&args.nodes.data, &region).await.unwrap_or_default()
    {
        anyhow::bail!("the other regions have no room for {region}: {shortage}; give --force if that is what you want");
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
