//! The venues of a run: made at the first target, then awaited at every address that needs them.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::payload::Pool;
use crate::support::poll;
use crate::support::venue;
use api::client::{self, Base};
use registry::{CreatedVenue, NewVenue};

/// How long a new venue may take to be readable in every region.
const LIMIT: Duration = Duration::from_secs(30);

/// Makes `count` venues with the areas of the pool, and waits until every target and every address of reading knows
/// them.
pub(crate) async fn make(
    targets: &[Base],
    read_at: &[Base],
    count: usize,
    pool: &Pool,
) -> anyhow::Result<Vec<CreatedVenue>> {
    let first = targets.first().context("no target")?;
    let mut venues = Vec::with_capacity(count);
    for number in 1..=count {
        let name = format!("Load test {number}");
        let new = NewVenue {
            name: Some(name),
            timezone: Some("Europe/Berlin".to_owned()),
            areas: Some(pool.areas().to_vec()),
            ..NewVenue::default()
        };
        venues.push(venue::create(first, &new).await.context("cannot make the venues of the load test")?);
    }
    for target in targets.iter().chain(read_at) {
        for venue in &venues {
            let path = format!("/v1/venues/{}", venue.venue_id);
            poll::until(LIMIT, async || client::get::<Value>(target, &path).await)
                .await
                .with_context(|| format!("{target} does not know the new venues"))?;
        }
    }
    Ok(venues)
}
