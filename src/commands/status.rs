//! `meridian status`: shows what the nodes report about themselves and each other, and what the routers make of it.
//!
//! # Not here
//! The figures: the admin listener of each node and router (`/v1/admin/status`).

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::duration;
use crate::support::deployment;
use crate::support::options::Nodes;
use crate::support::table::table;
use api::client::{self, Base};
use api::faults::ActiveFault;
use api::status::{NodeStatus, RouterStatus};

/// Options of `meridian status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    nodes: Nodes,
    /// Print a JSON array with one object for each node, or for each router with --routers
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show what the routers say and nothing else; exit 1 unless all answer
    #[arg(long, conflicts_with_all = ["watch", "admin"])]
    routers: bool,
    /// Show it again and again until Ctrl-C, so often
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<Duration>,
}

/// The shortest pause of `--watch`.
const SHORTEST_WATCH: Duration = Duration::from_millis(200);

/// The result of asking one process.
#[derive(Serialize)]
struct ProcessAnswer<S> {
    admin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

type NodeAnswer = ProcessAnswer<NodeStatus>;
type RouterAnswer = ProcessAnswer<RouterStatus>;

/// Asks every node and prints the answers; fails unless all answer and are ready.
pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    if args.routers {
        let asked: Vec<RouterAnswer> = ask(deployment::router_admins(&args.nodes.data)?).await;
        if args.json {
            say!("{}", serde_json::to_string(&asked)?);
        } else {
            print_routers(&asked);
        }
        let good = asked.iter().all(|asked| asked.status.is_some());
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    loop {
        let asked: Vec<NodeAnswer> = ask(args.nodes.admins()?).await;
        if args.json {
            say!("{}", serde_json::to_string(&asked)?);
        } else {
            // Routers belong to a deployment; a node's address says nothing of them.
            let routers =
                if args.nodes.admin.is_empty() { deployment::router_admins(&args.nodes.data) } else { Ok(Vec::new()) };
            if args.watch.is_some() {
                // Clears the screen (ECMA-48: ED, CUP).
                say!("\u{1b}[2J\u{1b}[H{}", Timestamp::now().round(Unit::Second)?);
            }
            print(&asked);
            match routers {
                Ok(routers) => print_routers(&ask(routers).await),
                Err(error) => say!("\nThe routers are not shown: {error:#}"),
            }
        }
        let Some(pause) = args.watch else {
            let good = asked.iter().all(|asked| asked.status.as_ref().is_some_and(|status| status.ready));
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        };
        tokio::time::sleep(pause.max(SHORTEST_WATCH)).await;
    }
}

/// Asks all at once; the answers are in the order of the addresses.
async fn ask<S: DeserializeOwned + Send + 'static>(bases: Vec<Base>) -> Vec<ProcessAnswer<S>> {
    let mut asking = tokio::task::JoinSet::new();
    for (index, base) in bases.into_iter().enumerate() {
        asking.spawn(async move {
            let (status, error) = match client::get(&base, "/v1/admin/status").await {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(format!("{:#}", anyhow::Error::from(error)))),
            };
            (index, ProcessAnswer { admin: base.to_string(), status, error })
        });
    }
    let mut asked = asking.join_all().await;
    asked.sort_by_key(|(index, _)| *index);
    asked.into_iter().map(|(_, asked)| asked).collect()
}

fn print_routers(asked: &[RouterAnswer]) {
    if asked.is_empty() {
        return;
    }
    let mut rows = table(&["router", "region", "state", "takes", "order", "nodes up", "routers heard"]);
    let mut notes = Vec::new();
    for ProcessAnswer { admin, status, error } in asked {
        let Some(status) = status else {
            rows.add_row([admin, "", "no answer"]);
            notes.extend(error.iter().map(|error| format!("{admin}: {error}")));
            continue;
        };
        let nodes = status.regions.iter().flat_map(|region| &region.nodes);
        let troubles = nodes.filter_map(|node| Some((&node.name, node.up, node.trouble.as_ref()?)));
        notes.extend(troubles.map(|(node, up, trouble)| {
            let state = if up { "up" } else { "down" };
            format!("{}: node {node} is {state}: {trouble}", status.name)
        }));
        for region in &status.regions {
            let up = region.nodes.iter().filter(|node| node.up).count();
            rows.add_row([
                status.name.clone(),
                region.region.to_string(),
                region.state.to_string(),
                format!("{:.0} %", region.admission * 100.0),
                region.order.as_ref().map_or_else(|| "-".to_owned(), |order| order.kind.to_string()),
                format!("{up} of {}", region.nodes.len()),
                status.heard.len().to_string(),
            ]);
        }
    }
    say!("\nWhere the routers send clients\n{rows}");
    for note in notes {
        say!("{note}");
    }
}

fn print(asked: &[NodeAnswer]) {
    let mut nodes = table(&["node", "region", "ready", "drain", "horizon", "live", "tombstones", "clock"]);
    let mut peers = table(&["node", "peer", "link", "lag entries", "lag s", "clock"]);
    let mut notes = Vec::new();
    for ProcessAnswer { admin, status, error } in asked {
        let Some(status) = status else {
            nodes.add_row([admin, "", "no answer"]);
            notes.extend(error.iter().map(|error| format!("{admin}: {error}")));
            continue;
        };
        nodes.add_row([
            status.name.to_string(),
            status.region.to_string(),
            if status.ready { "yes" } else { "no" }.to_owned(),
            if status.drain { "yes" } else { "no" }.to_owned(),
            status.horizon.map_or_else(|| "-".to_owned(), |horizon| horizon.to_string()),
            status.live_documents.to_string(),
            status.tombstones.to_string(),
            format!("{:+} ms{}", status.clock.offset_ms, if status.clock.in_doubt { ", in doubt" } else { "" }),
        ]);
        let fault = |fault: &ActiveFault| format!("{}: FAULT {} until {}", status.name, fault.act, fault.until);
        notes.extend(status.faults.iter().map(fault));
        notes.extend(status.reasons.iter().map(|reason| format!("{}: {reason}", status.name)));
        if status.damaged_rows > 0 {
            let (name, damaged) = (&status.name, status.damaged_rows);
            notes.push(format!("{name}: {damaged} damaged rows, which come back from a peer; check its disk"));
        }
        for peer in &status.peers {
            peers.add_row([
                status.name.to_string(),
                peer.name.to_string(),
                if peer.connected { "up" } else { "down" }.to_owned(),
                peer.lag_entries.to_string(),
                format!("{:.1}", peer.lag_seconds),
                peer.clock_offset_ms.map_or_else(|| "?".to_owned(), |offset| format!("{offset:+} ms")),
            ]);
        }
    }
    say!("{nodes}");
    if !peers.is_empty() {
        say!("\nEach node about its peers: entries and seconds of its log that the peer lacks\n{peers}");
    }
    for note in notes {
        say!("{note}");
    }
}
