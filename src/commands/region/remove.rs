//! `meridian region remove`: a region leaves the deployment for good.
//!
//! The order is refused while clients are sent there. Before it is given, the command waits until the region's nodes
//! have nothing left that the others lack, because what only they have would be lost.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use tokio::time::Instant;

use crate::args::{Usage, duration};
use crate::commands::up::grow::{self, Left};
use crate::support::deployment;
use crate::support::options::{Nodes, Signature};
use api::client::{Base, Call};
use api::members::{Member, Membership, RemoveMember};
use api::orders::RegionOrder;
use api::status::{NodeStatus, PeerStatus};
use api::{NodeName, RegionId};

/// Options of `meridian region remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The region, such as us-east; it must be drained
    region: RegionId,
    #[command(flatten)]
    nodes: Nodes,
    /// Only this node of the region
    #[arg(long, value_name = "NAME")]
    node: Option<NodeName>,
    #[command(flatten)]
    signature: Signature,
    /// How long to wait until the others have everything that the region has
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1m")]
    wait: Duration,
    /// Remove it although clients are still sent there, too few regions would be left, or it does not answer: what only
    /// it has is lost then
    #[arg(long)]
    force: bool,
}

/// How long the nodes may take to hear that they were removed: their links last a little longer.
const FAREWELL: Duration = Duration::from_secs(4);

/// Removes a region, or one node of it.
pub(crate) async fn remove(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let is_up = args.nodes.admin.is_empty() && grow::is_up(&args.nodes.data);
    let statuses = args.nodes.statuses().await?;
    let all = members(&statuses, &args.region);
    let leaving: Vec<NodeName> =
        all.iter().filter(|name| args.node.as_ref().is_none_or(|node| node == *name)).cloned().collect();
    if is_up && leaving.len() < all.len() {
        return Err(Usage::error("`meridian up` has the same number of nodes in each region: remove the whole region"));
    }
    anyhow::ensure!(!leaving.is_empty(), "{} has no such node; `meridian status` shows the nodes", args.region);
    let (staying, known): (Vec<_>, Vec<_>) =
        statuses.into_iter().partition(|(_, status)| !leaving.contains(&status.name));
    let others: Vec<Base> = staying.iter().map(|(base, _)| base.clone()).collect();
    anyhow::ensure!(!others.is_empty(), "no node of another region answers, and a region does not remove itself");
    if !args.force {
        if let Some(silent) = leaving.iter().find(|name| known.iter().all(|(_, status)| status.name != **name)) {
            return Err(Usage::error(format!(
                "{silent} was not asked, or does not answer, so it may have what no other node has: give its --admin as \
                 well, or --force if that may be lost"
            )));
        }
        is_drained(&args, &others).await?;
        everything_is_elsewhere(&args, &leaving).await?;
    }
    let left = if is_up { Some(grow::leave_out(&args.nodes.data, &args.region)?) } else { None };
    for name in &leaving {
        if let Err(error) = order(&args, &others, name).await {
            left.iter().try_for_each(Left::undo)?;
            return Err(error);
        }
        say!("{name} of {} is removed. In a few seconds nothing waits for it any more.", args.region);
    }
    let heard = have_heard(&args, &leaving).await;
    match left {
        Some(left) => {
            for folder in left.stop(&leaving)? {
                say!("Its process stops. Its data lies in {} until you delete it.", folder.display());
            }
        }
        None if heard => {
            say!("Its nodes have heard of it and take no clients any more: stop them and delete their data.")
        }
        None => say!(
            "Not all of its nodes have heard of it: stop them by hand before their network is back, because they would \
             take check-ins that no other region gets. Then delete their data."
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes one node; one that was removed before is fine.
async fn order(args: &RemoveArgs, others: &[Base], name: &NodeName) -> anyhow::Result<()> {
    let known: Vec<Member> =
        deployment::first_answer(others, &args.nodes.data, &Call::get("/v1/admin/members")).await?.json()?;
    if known.iter().any(|member| member.name == *name && member.membership == Membership::Removed) {
        return Ok(());
    }
    let (by, reason) = args.signature.clone().parts();
    let order = RemoveMember { by, reason, force: args.force };
    let call = Call::new(Method::DELETE, format!("/v1/admin/members/{name}")).json(&order)?;
    deployment::first_answer(others, &args.nodes.data, &call).await?.json::<Member>()?;
    Ok(())
}

/// Fails while clients are sent to the region. The nodes check that as well, but a region of several nodes would be half
/// removed by then.
async fn is_drained(args: &RemoveArgs, others: &[Base]) -> anyhow::Result<()> {
    let orders: Vec<RegionOrder> =
        deployment::first_answer(others, &args.nodes.data, &Call::get("/v1/admin/regions")).await?.json()?;
    let region = &args.region;
    let serves = orders.iter().any(|line| line.region == *region && !line.drain);
    anyhow::ensure!(!serves, "drain it first (`meridian region drain {region}`), or give --force");
    Ok(())
}

/// Whether all removed nodes say, while their links last, that they were removed and have nothing left to give.
async fn have_heard(args: &RemoveArgs, leaving: &[NodeName]) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < FAREWELL {
        let statuses = args.nodes.statuses().await.unwrap_or_default();
        let find = |name: &NodeName| statuses.iter().map(|(_, status)| status).find(|status| status.name == *name);
        let is_done = |name: &NodeName| {
            find(name).is_some_and(|status| {
                let knows = status.reasons.iter().any(|reason| reason.contains("removed from the deployment"));
                knows && is_missing(name, Some(status), leaving).is_none()
            })
        };
        if leaving.iter().all(is_done) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}

/// The nodes of a region, by what all nodes say.
fn members(statuses: &[(Base, NodeStatus)], region: &RegionId) -> Vec<NodeName> {
    let own = statuses.iter().map(|(_, status)| (&status.region, &status.name));
    let peers = statuses.iter().flat_map(|(_, status)| &status.peers).map(|peer| (&peer.region, &peer.name));
    let mut names: Vec<NodeName> =
        own.chain(peers).filter(|(of, _)| *of == region).map(|(_, name)| name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Waits until each of these nodes says that all its peers have what it has.
async fn everything_is_elsewhere(args: &RemoveArgs, leaving: &[NodeName]) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let statuses = args.nodes.statuses().await?;
        let find = |name: &NodeName| statuses.iter().map(|(_, status)| status).find(|status| status.name == *name);
        let missing: Vec<String> = leaving.iter().filter_map(|name| is_missing(name, find(name), leaving)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= args.wait {
            anyhow::bail!(
                "nothing was removed, because entries could be lost: {}. Give --force if they are to be lost",
                missing.join("; ")
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a leaving node may have that no other node has; `None` if there is nothing.
fn is_missing(name: &NodeName, status: Option<&NodeStatus>, leaving: &[NodeName]) -> Option<String> {
    let Some(status) = status else { return Some(format!("{name} does not answer on its admin listener")) };
    let mut others = status.peers.iter().filter(|peer| !leaving.contains(&peer.name));
    // One is enough, because the others get it from there.
    let lacks = |peer: &PeerStatus| peer.lag_from_here.unwrap_or(peer.lag_entries);
    let fullest = others.clone().filter(|peer| peer.connected).map(lacks).min();
    match fullest {
        Some(0) => None,
        Some(entries) => Some(format!("the others still lack {entries} entries of {name}")),
        None if others.next().is_none() => Some(format!("{name} has no peer to give its entries to")),
        None => Some(format!("{name} has no link to any other region")),
    }
}

#[cfg(test)]
mod tests {
    use api::NodeName;
    use api::status::NodeStatus;
    use serde_json::json;

    use super::is_missing;

    fn status(peers: &[(&str, bool, u64)]) -> NodeStatus {
        let peers: Vec<_> = peers
            .iter()
            .map(|(name, connected, entries)| {
                json!({"name": name, "region": name, "connected": connected, "lag_entries": 9,
                    "lag_from_here": entries, "lag_seconds": 0.0})
            })
            .collect();
        serde_json::from_value(json!({
            "region": "us", "name": "us", "replica": "1", "ready": true, "drain": true, "reasons": [],
            "clock": {"trusted_ms": 0, "offset_ms": 0, "in_doubt": false}, "live_documents": 0, "tombstones": 0,
            "buckets": 0, "complete_through": {}, "peers": peers
        }))
        .unwrap()
    }

    #[test]
    fn a_region_leaves_when_another_one_has_everything() {
        let name: NodeName = "us".parse().unwrap();
        let missing =
            |peers: &[(&str, bool, u64)]| is_missing(&name, Some(&status(peers)), std::slice::from_ref(&name));
        assert_eq!(missing(&[("eu", true, 0), ("ap", true, 7)]), None);
        assert!(missing(&[("eu", true, 2), ("ap", false, 0)]).is_some());
        assert!(missing(&[("eu", false, 0)]).is_some() && missing(&[]).is_some());
        assert!(is_missing(&name, None, &[]).is_some());
    }
}
