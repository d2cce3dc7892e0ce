//! `meridian fault`: makes one node fail on purpose, for a drill, and shows or ends what was made.
//!
//! # Not here
//! What a fault does, and its bounds: [`api::faults`]. The node takes faults only with `[faults] enabled`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;

use crate::args::{Usage, duration};
use crate::support::options::{Nodes, OneNode, Signature};
use crate::support::table::table;
use api::NodeName;
use api::client::{self, Call};
use api::faults::{Act, ActiveFault, Direction, EndedFaults, FaultList, NewFault};

/// Options of `meridian fault begin`.
#[derive(Debug, Args)]
pub(crate) struct BeginArgs {
    #[command(flatten)]
    place: OneNode,
    /// When the fault ends by itself, such as 30s; an hour at most
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasting: Duration,
    #[command(flatten)]
    signature: Signature,
    #[command(subcommand)]
    kind: KindArgs,
}

/// What the fault does.
#[derive(Debug, Subcommand)]
enum KindArgs {
    /// Close connections of clients, also those that are open
    RefuseClients,
    /// Accept connections of clients and answer no request, probes included: a black hole
    HangClients,
    /// Say on /readyz that the node is not fit to serve
    Unready,
    /// Let no frame pass to and from peers
    Partition(LinkArgs),
    /// Let frames to and from peers come late (4 s at most), or lose some
    Degrade {
        #[command(flatten)]
        links: LinkArgs,
        /// How much later each frame comes
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
        latency: Duration,
        /// The share of frames that is lost, from 0 to 1
        #[arg(long, default_value_t = 0.0)]
        loss: f64,
    },
    /// Let the wall clock, as the node sees it, be wrong
    ClockStep {
        /// By so much; a clock that is behind has a `-` in front
        #[arg(long, value_name = "TIME", value_parser = step, allow_hyphen_values = true)]
        by: i64,
    },
    /// Let each sync take longer (10 s at most)
    SlowDisk {
        /// By so much
        #[arg(long, value_name = "TIME", value_parser = duration)]
        by: Duration,
    },
    /// Let no sync return; a node whose disk hangs for 30 s ends itself
    HungDisk,
    /// Let every write of the store fail; the node ends itself
    FullDisk,
}

/// Which links.
#[derive(Debug, Args)]
struct LinkArgs {
    /// The peers; all of them without it
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    to: Vec<NodeName>,
    /// both, in (from the peers) or out (to them)
    #[arg(long, value_parser = direction, default_value = "both")]
    direction: Direction,
}

/// Options of `meridian fault list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    nodes: Nodes,
    /// Print a JSON array with one object for each node
    #[arg(long)]
    json: bool,
}

/// Options of `meridian fault end`.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    #[command(flatten)]
    place: OneNode,
    /// Its number; all faults of the node without it
    id: Option<u64>,
}

impl KindArgs {
    fn act(self) -> Act {
        match self {
            KindArgs::RefuseClients => Act::RefuseClients {},
            KindArgs::HangClients => Act::HangClients {},
            KindArgs::Unready => Act::Unready {},
            KindArgs::Partition(LinkArgs { to, direction }) => Act::Partition { to, direction },
            KindArgs::Degrade { links: LinkArgs { to, direction }, latency, loss } => {
                Act::Degrade { to, direction, latency, loss }
            }
            KindArgs::ClockStep { by } => Act::ClockStep { by_ms: by },
            KindArgs::SlowDisk { by } => Act::SlowDisk { by },
            KindArgs::HungDisk => Act::HungDisk {},
            KindArgs::FullDisk => Act::FullDisk {},
        }
    }
}

fn direction(text: &str) -> Result<Direction, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected both, in or out".to_owned())
}

/// Milliseconds of a length of time, below 0 with a `-` in front.
fn step(text: &str) -> Result<i64, String> {
    let length = duration(text.strip_prefix('-').unwrap_or(text))?;
    let ms = i64::try_from(length.as_millis()).map_err(|_| "too long".to_owned())?;
    Ok(if text.starts_with('-') { -ms } else { ms })
}

/// Begins a fault.
pub(crate) async fn begin(args: BeginArgs) -> anyhow::Result<ExitCode> {
    let (by, reason) = args.signature.parts();
    let new = NewFault { act: args.kind.act(), lasts: args.lasting, by, reason };
    new.check().map_err(|error| Usage::error(error.to_string()))?;
    let base = args.place.base()?;
    let answer = Call::new(Method::POST, "/v1/admin/faults").json(&new)?.send(&base).await?;
    let begun: ActiveFault = answer.json()?;
    say!("Fault {} at {base}: {}. It ends by itself at {}.", begun.id, begun.act, begun.until);
    Ok(ExitCode::SUCCESS)
}

/// Ends faults.
pub(crate) async fn end(args: EndArgs) -> anyhow::Result<ExitCode> {
    let path = args.id.map_or_else(|| "/v1/admin/faults".to_owned(), |id| format!("/v1/admin/faults/{id}"));
    let base = args.place.base()?;
    let answer = Call::new(Method::DELETE, path).send(&base).await?;
    if !answer.status.is_success() {
        return Err(answer.refused().into());
    }
    match args.id {
        Some(id) => say!("Fault {id} at {base} is over."),
        None => say!("Faults that were ended at {base}: {}.", answer.json::<EndedFaults>()?.ended),
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the faults of all nodes; fails unless all answer.
pub(crate) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut rows = table(&["node", "id", "fault", "since", "until", "by", "reason"]);
    let (mut lists, mut failed, mut any) = (Vec::new(), false, false);
    for base in args.nodes.admins()? {
        let list: FaultList = match client::get(&base, "/v1/admin/faults").await {
            Ok(list) => list,
            Err(error) => {
                failed = true;
                let error = format!("{:#}", anyhow::Error::from(error));
                eprintln!("{base}: {error}");
                lists.push(serde_json::json!({ "admin": base.to_string(), "error": error }));
                continue;
            }
        };
        for fault in &list.faults {
            any = true;
            let times = [fault.since.to_string(), fault.until.to_string()];
            let first = [base.to_string(), fault.id.to_string(), fault.act.to_string()];
            rows.add_row(first.into_iter().chain(times).chain([fault.by.clone(), fault.reason.clone()]));
        }
        lists.push(serde_json::json!({ "admin": base.to_string(), "enabled": list.enabled, "faults": list.faults }));
    }
    match (args.json, any) {
        (true, _) => say!("{}", serde_json::to_string(&lists)?),
        (false, true) => say!("{rows}"),
        (false, false) if failed => {}
        (false, false) => say!("No fault is active."),
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::{direction, step};

    #[test]
    fn a_step_has_a_sign_and_a_direction_a_name() {
        assert_eq!((step("90s"), step("-1h 30m")), (Ok(90_000), Ok(-5_400_000)));
        assert!(step("--1s").is_err() && step("1").is_err());
        assert!(direction("in").is_ok() && direction("sideways").is_err());
    }
}
