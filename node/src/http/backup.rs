//! `POST /v1/admin/backup`: the answer is a backup of this node, encrypted to operators' keys.
//!
//! # Invariants
//! - If the configuration names recipients, a backup goes to no others. Otherwise a stolen token would be enough to read
//!   everything.
//! - A backup that is not whole breaks its connection off. So does one that the node's stop cuts short.

use futures_util::stream;
use hyper::header::HeaderValue;
use replication::{STORE_FORMAT, millis};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::call::Call;
use super::problem::{Answered, Kind, Problem};
use super::reply::{BrokeOff, stream as streamed};
use super::{App, audit, body};
use crate::backup::{Head, Piece};
use crate::backup_key::Recipient;
use registry::LONGEST_RETENTION;

/// Keys that one backup may be encrypted to.
const MOST_RECIPIENTS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(default)]
    recipients: Vec<String>,
}

/// `POST /v1/admin/backup`.
pub(super) async fn make(call: Call) -> Answered {
    let app = &call.app;
    let stopping = call.stopping();
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"the body is {"recipients"?: ["age1..."]}"#;
    let order: Order = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let recipients = recipients(app, &order.recipients)?;
    let running = "one backup at a time is made: wait until it has ended, or end the program that takes it";
    let place = app.backups.place().ok_or_else(|| Problem::new(Kind::BackupRunning, running))?;
    let to: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    let what = format!("backup to {}", to.join(", "));
    audit::record(app, &call.operator, call.operator.named(""), what, "").await;
    let status = app.handle.status();
    let head = Head {
        region: app.region.to_string(),
        node: app.name.to_string(),
        replica: status.replica.to_string(),
        begun_ms: app.now(&status).0,
        max_retention_ms: millis(LONGEST_RETENTION),
        store_format: STORE_FORMAT,
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let pieces = app.backups.begin(place, head, recipients);
    let media_type = HeaderValue::from_static("application/octet-stream");
    Ok(streamed(media_type, stream::try_unfold((pieces, stopping), next)))
}

/// The keys that a backup is encrypted to.
fn recipients(app: &App, asked: &[String]) -> Result<Vec<Recipient>, Problem> {
    let configured = &app.backup_recipients;
    let invalid = |detail: String| Err(Problem::new(Kind::Invalid, detail));
    if asked.len() > MOST_RECIPIENTS {
        return invalid(format!("`recipients`: at most {MOST_RECIPIENTS}"));
    }
    let asked: Result<Vec<Recipient>, _> = asked.iter().map(|text| text.parse()).collect();
    match asked {
        Err(error) => invalid(format!("`recipients`: one of them {error}")),
        Ok(asked) if asked.is_empty() && configured.is_empty() => invalid(
            "`recipients`: name one, or several in backup.recipients of the node; `meridian backup key` makes a key"
                .into(),
        ),
        Ok(asked) if asked.is_empty() => Ok(configured.clone()),
        Ok(asked) if configured.is_empty() || asked.iter().all(|one| configured.contains(one)) => Ok(asked),
        Ok(_) => invalid("`recipients`: backups of this node go only to those that backup.recipients names".into()),
    }
}

type Pieces = (mpsc::Receiver<Piece>, watch::Receiver<bool>);

/// The next piece of a backup; an error if it broke off.
async fn next((mut pieces, mut stopping): Pieces) -> Result<Option<(bytes::Bytes, Pieces)>, BrokeOff> {
    let piece = tokio::select! {
        piece = pieces.recv() => piece,
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    match piece {
        Some(Piece::Bytes(bytes)) => Ok(Some((bytes, (pieces, stopping)))),
        Some(Piece::End) => Ok(None),
        None => Err(BrokeOff),
    }
}
