//! `meridian status`: shows what the nodes report about themselves and each other.
//!
//! # Not here
//! The figures: each node's admin listener (`/v1/admin/status`).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::args::default_data;
use crate::support::deployment;
use crate::support::table::table;
use api::client::{self, Base};
use api::faults::ActiveFault;
use api::status::NodeStatus;

/// Options of `meridian status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A node's admin address, such as http://127.0.1.1:7082; repeat it for more
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    admin: Vec<Base>,
    /// Without --admin: the folder of a deployment that `meridian up` made
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), conflicts_with = "admin")]
    data: PathBuf,
    /// Print a JSON array with one object for each node
    #[arg(long)]
    json: bool,
}

/// The result of asking one node.
#[derive(Serialize)]
struct NodeAnswer {
    admin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<NodeStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Asks every node and prints the answers; fails unless all answer and are ready.
pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let mut asking = tokio::task::JoinSet::new();
    for (index, base) in deployment::node_admins(&args.admin, &args.data)?.into_iter().enumerate() {
        asking.spawn(async move {
            let (status, error) = match client::get(&base, "/v1/admin/status").await {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(format!("{:#}", anyhow::Error::from(error)))),
            };
            (index, NodeAnswer { admin: base.to_string(), status, error })
        });
    }
    let mut asked = asking.join_all().await;
    asked.sort_by_key(|(index, _)| *index);
    let asked: Vec<NodeAnswer> = asked.into_iter().map(|(_, asked)| asked).collect();
    if args.json {
        say!("{}", serde_json::to_string(&asked)?);
    } else {
        print(&asked);
    }
    let good = asked.iter().all(|asked| asked.status.as_ref().is_some_and(|status| status.ready));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(asked: &[NodeAnswer]) {
    let mut nodes = table(&["node", "region", "ready", "drain", "horizon", "live", "tombstones", "clock"]);
    let mut peers = table(&["node", "peer", "link", "lag entries", "lag s", "clock"]);
    let mut notes = Vec::new();
    for NodeAnswer { admin, status, error } in asked {
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
