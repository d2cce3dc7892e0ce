//! The demo venue: made in region 1 at the first start, and stored with its owner key for later starts.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::layout::Layout;
use crate::support::poll;
use crate::support::venue;
use api::client::{self, Base};
use registry::{CreatedVenue, NewVenue};

/// How long the venue may take to be known in every region.
const LIMIT: Duration = Duration::from_secs(30);

/// The demo venue, known in every region.
pub(super) async fn venue(layout: &Layout) -> anyhow::Result<CreatedVenue> {
    let file = layout.data.join("demo-venue.json");
    let base = Base::from(layout.region(1).public);
    let remembered = match std::fs::read(&file) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", file.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
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

/// Writes the owner key so that no other user of this machine can read it.
fn remember(file: &Path, made: &CreatedVenue) -> anyhow::Result<()> {
    let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    open.write_all(&serde_json::to_vec_pretty(made)?)?;
    Ok(())
}
