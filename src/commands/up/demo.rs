//! The demo venue and a demo visit: made in region 1, and stored with the owner's key and the guest's secret for later
//! starts.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use hyper::Method;
use replication::Wall;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::layout::Layout;
use crate::support::poll;
use crate::support::venue;
use api::Moment;
use api::client::{self, Base, Call, CallError};
use registry::{CreatedVenue, NewVenue, Receipt};

/// How long the venue may take to be known in every region.
const LIMIT: Duration = Duration::from_secs(30);

/// The demo venue, known in every region.
pub(super) async fn venue(layout: &Layout) -> anyhow::Result<CreatedVenue> {
    let file = layout.data.join("demo-venue.json");
    let base = Base::from(layout.region(1).public);
    let remembered: Option<CreatedVenue> = recall(&file)?;
    let made = match remembered {
        Some(made) => made,
        None => {
            let areas = ["Terrace", "Bar", "Table 7"].map(str::to_owned);
            let new = NewVenue {
                name: Some("Café Meridian".to_owned()),
                timezone: Some("Europe/Berlin".to_owned()),
                retention: None,
                address: None,
                areas: Some(areas.to_vec()),
            };
            let made = venue::create(&base, &new).await?;
            remember(&file, &made).with_context(|| format!("cannot write {}", file.display()))?;
            made
        }
    };
    let path = format!("/v1/venues/{}", made.venue_id);
    for node in &layout.nodes {
        let base = Base::from(node.public);
        poll::until(LIMIT, async || client::get::<Value>(&base, &path).await)
            .await
            .with_context(|| format!("{} does not know the demo venue of {}", node.process.name, file.display()))?;
    }
    Ok(made)
}

/// A visit to the demo venue, made anew once the last one was deleted.
pub(super) async fn visit(layout: &Layout, venue: &CreatedVenue) -> anyhow::Result<Receipt> {
    let file = layout.data.join("demo-visit.json");
    if let Some(receipt) = recall::<Receipt>(&file)?.filter(|receipt| receipt.expires_at > Moment(now())) {
        return Ok(receipt);
    }
    let guest = json!({"area": "Terrace", "persons": [{"name": "Zoë Nguyễn", "phone": "+49 151 2345678"}]});
    let call = Call::new(Method::POST, format!("/v1/venues/{}/visits", venue.venue_id)).json(&guest)?;
    let receipt: Result<Receipt, CallError> = call.send(&Base::from(layout.region(1).public)).await?.json();
    let receipt = receipt?;
    remember(&file, &receipt).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(receipt)
}

fn now() -> Wall {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(replication::millis(now))
}

/// What an earlier start wrote.
fn recall<T: DeserializeOwned>(file: &Path) -> anyhow::Result<Option<T>> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is damaged", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Writes keys and secrets so that no other user of this machine can read them.
fn remember(file: &Path, made: &impl Serialize) -> anyhow::Result<()> {
    let mut open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    open.write_all(&serde_json::to_vec_pretty(made)?)?;
    Ok(())
}
