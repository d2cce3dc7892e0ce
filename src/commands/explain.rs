//! `meridian explain`: shows to which region an address is sent, and why.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::args::default_data;
use crate::support::deployment;
use crate::support::table::table;
use api::client::{self, Base};
use api::explanation::{Explanation, LocationSource};

/// Options of `meridian explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A client's address, IPv4 or IPv6
    address: IpAddr,
    /// A router's admin address, such as http://127.0.0.1:7082
    #[arg(long, value_name = "URL")]
    admin: Option<Base>,
    /// Without --admin: the folder of a deployment that `meridian up` made
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), conflicts_with = "admin", value_parser = crate::args::path())]
    data: PathBuf,
    /// Print the router's answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks a router and prints its answer.
pub(crate) async fn explain(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let admin = match args.admin {
        Some(admin) => deployment::authorised(admin, Some(&args.data)),
        None => deployment::router_admin(&args.data)?,
    };
    let explanation: Explanation = client::get(&admin, &format!("/v1/admin/explain?address={}", args.address)).await?;
    if args.json {
        say!("{}", serde_json::to_string(&explanation)?);
        return Ok(ExitCode::SUCCESS);
    }
    let located = &explanation.located;
    let place = match (located.source, &located.country, &located.position) {
        (LocationSource::Unknown, ..) => "unknown: its prefix is given to a region by a stable hash".to_owned(),
        (source, Some(country), _) => format!("{country}, by the {source}"),
        (source, None, Some(at)) => format!("{} {}, by the {source}", at.latitude, at.longitude),
        (source, None, None) => format!("given to a region by the {source}"),
    };
    say!(
        "{} goes to {} ({}), and so does all of {}.",
        args.address,
        explanation.region,
        explanation.reason,
        explanation.prefix
    );
    say!("Place: {place}. DNS answers hold {} s. View {}.", explanation.ttl, explanation.epoch);
    if explanation.frozen {
        say!("Too few routers are heard for a verdict: the last one holds.");
    }
    if explanation.shed > 0.0 {
        say!("{:.0} % of the clients there are refused: no region has capacity for them.", explanation.shed * 100.0);
    }
    let mut rows = table(&["rank", "region", "state", "km", "share"]);
    for (rank, one) in explanation.ranking.iter().enumerate() {
        let km = one.km.map_or_else(|| "?".to_owned(), |km| km.to_string());
        rows.add_row([
            (rank + 1).to_string(),
            one.region.to_string(),
            one.state.to_string(),
            km,
            format!("{:.0} %", one.share * 100.0),
        ]);
    }
    say!("{rows}");
    Ok(ExitCode::SUCCESS)
}
