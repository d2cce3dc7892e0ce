//! `meridian region add`: a region, or one more node of a region, joins while the deployment runs.
//!
//! In a deployment of `meridian up` the command makes the folder, the certificate and the configuration, and `up` starts
//! the process. Elsewhere the operator does that; the command says how.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::filling;
use crate::args::{Usage, duration};
use crate::commands::up::grow::{self, Grown, NewNode};
use crate::support::deployment;
use crate::support::options::{Nodes, Signature};
use api::client::Call;
use api::members::{Member, NewMember};
use api::orders::RegionOrder;
use api::{HostPort, NodeName, Position, RegionId};

/// Options of `meridian region add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The region, such as sa-east
    region: RegionId,
    #[command(flatten)]
    nodes: Nodes,
    /// The node's name, as on its certificate [default: the region]
    #[arg(long, value_name = "NAME", requires = "replication")]
    node: Option<NodeName>,
    /// Where the other nodes reach it; without it the region is added to the deployment of `meridian up` in --data
    #[arg(long, value_name = "HOST:PORT")]
    replication: Option<String>,
    /// Where routers and clients reach it over TLS
    #[arg(long, value_name = "HOST:PORT", requires = "replication")]
    public_tls: Option<HostPort>,
    /// The name on its certificate there [default: the host of --public-tls if that is a name, else the node's name]
    #[arg(long, value_name = "NAME", requires = "public_tls")]
    server_name: Option<String>,
    /// Where clients reach it without TLS; routers too, if it has no --public-tls
    #[arg(long, value_name = "IP:PORT", value_parser = service::config::parse_socket, requires = "replication")]
    public: Option<SocketAddr>,
    /// Where the region is, such as -23.55,-46.63
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, value_parser = position, requires = "replication")]
    position: Option<Position>,
    #[command(flatten)]
    signature: Signature,
    /// How long to watch it fill; 0s gives the order and ends
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    wait: Duration,
}

fn position(text: &str) -> Result<Position, String> {
    let wrong = || format!("`{text}` is not a position: give latitude and longitude, such as -23.55,-46.63");
    let (latitude, longitude) = text.split_once(',').ok_or_else(wrong)?;
    let degrees = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    Position::new(degrees(latitude)?, degrees(longitude)?).map_err(|error| error.to_string())
}

/// Gives the orders that add these nodes.
async fn order(nodes: &Nodes, new: &[NewNode]) -> anyhow::Result<()> {
    for node in new {
        let call = Call::new(Method::PUT, format!("/v1/admin/members/{}", node.name)).json(&node.order)?;
        let member: Member = nodes.ask(&call).await?.json()?;
        say!("{} of {} is a member of the deployment.", member.name, member.region);
    }
    Ok(())
}

/// Adds a region and watches it fill.
pub(crate) async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    // The folder of a new node is closed to other users, as those that `up` makes are.
    service::private::hide_new_files();
    let (by, reason) = args.signature.clone().parts();
    let (new, grown) = match &args.replication {
        Some(replication) => {
            let name = match args.node.clone() {
                Some(name) => name,
                None => NodeName::try_from(args.region.to_string())?,
            };
            let order = NewMember {
                region: args.region.clone(),
                position: args.position,
                replication: replication.clone(),
                public: args.public,
                public_tls: args.public_tls.clone(),
                server_name: args.server_name.clone(),
                by,
                reason,
            };
            (vec![NewNode { name, order }], None)
        }
        None if !args.nodes.admin.is_empty() => {
            return Err(Usage::error("with --admin, --replication must say where the other nodes reach the new one"));
        }
        None => {
            let data = &args.nodes.data;
            if !deployment::is_run_by_up(data)? {
                return Err(Usage::error(format!(
                    "no `meridian up` runs in {}: start it, or give --admin URL and --replication HOST:PORT for \
                     another deployment",
                    data.display()
                )));
            }
            let grown = grow::prepare(data, &args.region, &by, &reason)?;
            (grown.nodes(), Some(grown))
        }
    };
    if let Err(error) = order(&args.nodes, &new).await {
        // Without the order the folders would only be in the way of the next attempt.
        grown.iter().try_for_each(Grown::undo)?;
        return Err(error);
    }
    match &grown {
        Some(grown) => {
            grown.start()?;
            say!("`meridian up` starts it.");
        }
        None => say!(
            "Start it with a certificate of this deployment for its name (`meridian certs init --node NAME`) and a \
             configuration that names one live node under [[peers]]: it learns of the others from that one."
        ),
    }
    let orders: Vec<RegionOrder> = args.nodes.ask(&Call::get("/v1/admin/regions")).await?.json()?;
    if orders.iter().any(|line| line.region == args.region && line.drain) {
        say!("An earlier order still drains it: meridian region restore {}", args.region);
    }
    if args.wait.is_zero() {
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<NodeName> = new.into_iter().map(|node| node.name).collect();
    let took = filling::watch(&args.nodes, &names, args.wait).await?;
    say!(
        "{} holds everything that the other regions have, after {:.1} s. Routers that ask these nodes send clients \
         there once their probes find it healthy.",
        args.region,
        took.as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn positions_are_pairs_of_degrees() {
        assert!(position("-23.55,-46.63").is_ok() && position("1, 2").is_ok());
        assert!(position("95,0").is_err() && position("1").is_err() && position("a,b").is_err());
    }
}
