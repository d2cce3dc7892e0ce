//! `meridian venue create`: makes a venue through the public API.

use std::process::ExitCode;

use api::client::Base;
use clap::Args;
use registry::NewVenue;

use crate::support;

/// Options of `meridian venue create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A region's public address, such as http://127.0.1.1:7080; the venue is then known in all regions
    #[arg(long)]
    url: Base,
    /// Name that guests see, such as "Café Meridian"
    #[arg(long)]
    name: String,
    /// IANA time zone of the place, such as Europe/Berlin
    #[arg(long, value_name = "TZ")]
    timezone: String,
    /// How long visits are kept, such as 14d; the policy pack has bounds and a default
    #[arg(long)]
    retention: Option<String>,
    /// Address of the venue, for guests
    #[arg(long)]
    address: Option<String>,
    /// A table or room; repeat it for more
    #[arg(long = "area", value_name = "AREA")]
    areas: Vec<String>,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Makes a venue and prints what its owner needs.
pub(crate) async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let venue = NewVenue {
        name: Some(args.name),
        timezone: Some(args.timezone),
        retention: args.retention,
        address: args.address,
        areas: (!args.areas.is_empty()).then_some(args.areas),
    };
    let made = support::venue::create(&args.url, &venue).await?;
    if args.json {
        say!("{}", serde_json::to_string(&made)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!("venue id      {}", made.venue_id);
    say!("owner key     {}", made.owner_key);
    say!("check-in URL  {}", made.checkin_url);
    say!("\nKeep the owner key now: it is not shown again, and everyone who has it can read the guest list.");
    say!("Next: show the check-in URL to guests, and read the guest list with");
    say!("  curl -H 'Authorization: Bearer {}' {}/v1/venues/{}/guests", made.owner_key, args.url, made.venue_id);
    Ok(ExitCode::SUCCESS)
}
