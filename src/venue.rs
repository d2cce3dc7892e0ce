//! `meridian venue create`: makes a venue through the public API.

use std::process::ExitCode;

use clap::Args;
use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::http::{self, Base, Options};

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

/// The body of `POST /v1/venues`.
#[derive(Debug, Serialize)]
pub(crate) struct NewVenue<'a> {
    /// The name that guests see.
    pub(crate) name: &'a str,
    /// IANA time zone.
    pub(crate) timezone: &'a str,
    /// How long visits are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<&'a str>,
    /// The address of the venue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<&'a str>,
    /// Tables and rooms.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) areas: &'a [String],
}

/// The answer to `POST /v1/venues`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Created {
    /// The venue's id.
    pub(crate) venue_id: String,
    /// The key that proves its ownership; it is shown once.
    pub(crate) owner_key: String,
    /// The link for guests to check in.
    pub(crate) checkin_url: String,
}

/// Makes a venue.
pub(crate) async fn make(base: &Base, venue: &NewVenue<'_>) -> anyhow::Result<Created> {
    http::request(base, Method::POST, "/v1/venues", Options::json(venue)?).await?.json()
}

/// Makes a venue and prints what its owner needs.
pub(crate) async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let venue = NewVenue {
        name: &args.name,
        timezone: &args.timezone,
        retention: args.retention.as_deref(),
        address: args.address.as_deref(),
        areas: &args.areas,
    };
    let made = make(&args.url, &venue).await?;
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
