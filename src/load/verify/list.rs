//! Reads guest lists: the whole list as a stream of lines, or only its completeness.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;

use api::client::{Base, Call, Connection};
use registry::CreatedVenue;

/// How long a stream may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// For each region the moment through which a list is complete.
pub(crate) type Completeness = BTreeMap<String, Option<Timestamp>>;

#[derive(Deserialize)]
struct Page {
    completeness: Completeness,
}

fn path(venue: &CreatedVenue, query: &str) -> String {
    format!("/v1/venues/{}/guests{query}", venue.venue_id)
}

/// Asks for the completeness of a venue's guest list.
pub(crate) async fn completeness(base: &Base, venue: &CreatedVenue) -> anyhow::Result<Completeness> {
    let reply = Call::get(path(venue, "?limit=1")).bearer(&venue.owner_key).send(base).await?;
    Ok(reply.json::<Page>()?.completeness)
}

/// Streams a venue's whole guest list and passes each line to `row`; fails if the list breaks off.
pub(crate) async fn stream(
    base: &Base,
    venue: &CreatedVenue,
    mut row: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let request = Call::get(path(venue, ""))
        .bearer(&venue.owner_key)
        .header(ACCEPT, HeaderValue::from_static("application/x-ndjson"))
        .request(base)?;
    let connection = Connection::open(base).await.with_context(|| format!("cannot connect to {base}"));
    let mut connection = connection?;
    let answer = tokio::time::timeout(SILENCE, connection.send(request)).await.context("no answer")?;
    let answer = answer.map_err(|_| anyhow::anyhow!("the connection to {base} broke"))?;
    anyhow::ensure!(answer.status() == StatusCode::OK, "{base} answered {}", answer.status());
    let mut body = answer.into_body();
    let mut rest: Vec<u8> = Vec::new();
    let mut last = false;
    while let Some(frame) =
        tokio::time::timeout(SILENCE, connection.drive(body.frame())).await.context("the list stalled")?
    {
        let Ok(data) = frame.context("the list ended early")?.into_data() else { continue };
        let mut data = &data[..];
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = data.split_at(end);
            data = &tail[1..];
            if rest.is_empty() {
                last |= take(head, &mut row)?;
            } else {
                rest.extend_from_slice(head);
                last |= take(&rest, &mut row)?;
                rest.clear();
            }
        }
        rest.extend_from_slice(data);
    }
    last |= take(&rest, &mut row)?;
    anyhow::ensure!(last, "the list of {base} ended without its completeness");
    Ok(())
}

/// Takes one line. Returns whether it is the last one.
fn take(line: &[u8], row: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<bool> {
    if line.starts_with(b"{\"completeness\"") {
        return Ok(true);
    }
    if !line.trim_ascii().is_empty() {
        row(line)?;
    }
    Ok(false)
}
