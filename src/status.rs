//! `meridian status`: shows what the nodes report about themselves and each other.
//!
//! # Not here
//! The figures: each node's admin listener (`/v1/admin/status`).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cli::default_data;
use crate::deployment;
use crate::http::{self, Base};
use crate::table::table;

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

/// The status of one node.
#[derive(Debug, Serialize, Deserialize)]
struct NodeStatus {
    region: String,
    name: String,
    replica: String,
    ready: bool,
    #[serde(default)]
    drain: bool,
    #[serde(default)]
    reasons: Vec<String>,
    clock: Clock,
    horizon: Option<String>,
    live_documents: u64,
    tombstones: u64,
    #[serde(default)]
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Clock {
    trusted_ms: u64,
    offset_ms: i64,
    in_doubt: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Peer {
    name: String,
    region: String,
    connected: bool,
    lag_entries: Option<u64>,
    lag_seconds: Option<f64>,
    clock_offset_ms: Option<i64>,
}

/// The result of asking one node.
#[derive(Serialize)]
struct Asked {
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
            let (status, error) = match http::get(&base, "/v1/admin/status").await {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            };
            (index, Asked { admin: base.to_string(), status, error })
        });
    }
    let mut asked = asking.join_all().await;
    asked.sort_by_key(|(index, _)| *index);
    let asked: Vec<Asked> = asked.into_iter().map(|(_, asked)| asked).collect();
    if args.json {
        say!("{}", serde_json::to_string(&asked)?);
    } else {
        print(&asked);
    }
    let good = asked.iter().all(|asked| asked.status.as_ref().is_some_and(|status| status.ready));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(asked: &[Asked]) {
    let mut nodes = table(&["node", "region", "ready", "drain", "horizon", "live", "tombstones", "clock"]);
    let mut peers = table(&["node", "peer", "link", "lag entries", "lag s", "clock"]);
    let mut notes = Vec::new();
    for Asked { admin, status, error } in asked {
        let Some(status) = status else {
            nodes.add_row([admin, "", "no answer"]);
            notes.extend(error.iter().map(|error| format!("{admin}: {error}")));
            continue;
        };
        nodes.add_row([
            status.name.clone(),
            status.region.clone(),
            if status.ready { "yes" } else { "no" }.to_owned(),
            if status.drain { "yes" } else { "no" }.to_owned(),
            status.horizon.clone().unwrap_or_else(|| "-".to_owned()),
            status.live_documents.to_string(),
            status.tombstones.to_string(),
            format!("{:+} ms{}", status.clock.offset_ms, if status.clock.in_doubt { ", in doubt" } else { "" }),
        ]);
        notes.extend(status.reasons.iter().map(|reason| format!("{}: {reason}", status.name)));
        for peer in &status.peers {
            let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
            peers.add_row([
                status.name.clone(),
                peer.name.clone(),
                if peer.connected { "up" } else { "down" }.to_owned(),
                or_unknown(peer.lag_entries.map(|lag| lag.to_string())),
                or_unknown(peer.lag_seconds.map(|lag| format!("{lag:.1}"))),
                or_unknown(peer.clock_offset_ms.map(|offset| format!("{offset:+} ms"))),
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
