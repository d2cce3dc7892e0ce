//! `meridian venue create`: makes a venue through the public API. `meridian venue invite` and `remove` are for operators.

use std::process::ExitCode;
use std::time::Duration;

use api::client::{Base, Call};
use api::venues::{Invitation, NewInvitation, RemoveVenue};
use clap::Args;
use hyper::Method;
use registry::{NewVenue, VenueId};

use crate::args::duration;
use crate::support;
use crate::support::options::{Nodes, Signature};

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
    /// An operator's invitation, where the service gives venues only to those that it has invited
    #[arg(long)]
    invitation: Option<String>,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `meridian venue invite`.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    #[command(flatten)]
    nodes: Nodes,
    /// How long the invitation counts, such as 30d
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "7d")]
    lasting: Duration,
    #[command(flatten)]
    signature: Signature,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `meridian venue remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The venue's id
    venue: VenueId,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    signature: Signature,
}

/// Makes an invitation and prints it.
pub(crate) async fn invite(args: InviteArgs) -> anyhow::Result<ExitCode> {
    let (by, reason) = args.signature.parts();
    let new = NewInvitation { lasts: args.lasting, by, reason };
    let call = Call::new(Method::POST, "/v1/admin/invitations").json(&new)?;
    let made: Invitation = args.nodes.ask(&call).await?.json()?;
    if args.json {
        say!("{}", serde_json::to_string(&made)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", made.invitation);
    say!("\nIt counts until {}. Send it in the header Meridian-Invitation, or as the link", made.until);
    say!("  <address of the service>/console/register?invitation={}", made.invitation);
    Ok(ExitCode::SUCCESS)
}

/// Closes a venue.
pub(crate) async fn remove(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let (by, reason) = args.signature.parts();
    let removal = RemoveVenue { by, reason };
    let call = Call::new(Method::DELETE, format!("/v1/admin/venues/{}", args.venue)).json(&removal)?;
    let answer = args.nodes.ask(&call).await?;
    if !answer.status.is_success() {
        return Err(answer.refused().into());
    }
    say!("{} is closed: it takes no check-ins any more. Its visits stay until they expire.", args.venue);
    Ok(ExitCode::SUCCESS)
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
    let made = support::venue::create_invited(&args.url, &venue, args.invitation.as_deref()).await?;
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
