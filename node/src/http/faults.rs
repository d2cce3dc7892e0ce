//! Faults on this node, on the admin listener: `/v1/admin/faults` and `/v1/admin/faults/{fault}`.

use api::faults::{EndedFaults, FaultList, NewFault};
use hyper::StatusCode;

use super::call::Call;
use super::problem::{Answered, Kind, Problem};
use super::reply::{json, no_content};
use super::{App, audit, body};
use crate::faults::NotBegun;

/// `GET /v1/admin/faults`.
pub(super) async fn list(call: Call) -> Answered {
    let faults = &call.app.faults;
    Ok(json(StatusCode::OK, &FaultList { enabled: faults.is_enabled(), faults: faults.shown() }))
}

/// `POST /v1/admin/faults`.
pub(super) async fn begin(call: Call) -> Answered {
    check_enabled(&call.app)?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let new: NewFault = serde_json::from_slice(&body).map_err(|error| {
        let form = r#"{"act": {"kind": "partition", "to": ["us-east"]}, "for": "30s", "by": "...", "reason"?: "..."}"#;
        // The error names a key or a place in the body, and no value.
        Problem::new(Kind::MalformedBody, format!("a fault is {form}; {}", place(&error)))
    })?;
    let new = NewFault { by: call.operator.author(&new.by), ..new };
    new.check().map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    let members = call.app.membership.now();
    let stranger = new.act.peers().unwrap_or_default().iter().find(|peer| !members.peers.contains_key(*peer));
    if stranger.is_some() {
        let names: Vec<&str> = members.peers.keys().map(api::NodeName::as_str).collect();
        return Err(Problem::new(Kind::Invalid, format!("`to`: the peers of this node are {}", names.join(", "))));
    }
    let what = format!("fault {} for {}", new.act, api::duration::show(new.lasts));
    audit::record(&call.app, &call.operator, new.by.clone(), what, &new.reason).await;
    let begun = call.app.faults.begin(new).map_err(|error| {
        let kind = if error == NotBegun::TooMany { Kind::TooManyFaults } else { Kind::Stopping };
        Problem::new(kind, error.to_string())
    })?;
    Ok(json(StatusCode::CREATED, &begun))
}

/// `DELETE /v1/admin/faults`: ends all of them. It is the way out, so it works whatever the configuration says.
pub(super) async fn end_all(call: Call) -> Answered {
    // First the way out: the entry may wait for a disk that the fault has slowed.
    let ended = call.app.faults.end(None);
    audit::record(&call.app, &call.operator, call.operator.named(""), "end all faults".to_owned(), "").await;
    Ok(json(StatusCode::OK, &EndedFaults { ended }))
}

/// `DELETE /v1/admin/faults/{fault}`.
pub(super) async fn end(call: Call) -> Answered {
    let id = call.name("fault").parse::<u64>().ok();
    let Some(id) = id.filter(|id| call.app.faults.end(Some(*id)) > 0) else {
        return Err(Problem::new(Kind::NoFault, "it has ended, or there never was one"));
    };
    audit::record(&call.app, &call.operator, call.operator.named(""), format!("end fault {id}"), "").await;
    Ok(no_content())
}

fn check_enabled(app: &App) -> Result<(), Problem> {
    if app.faults.is_enabled() {
        return Ok(());
    }
    Err(Problem::new(Kind::FaultsDisabled, "set `enabled = true` in `[faults]` of the node's configuration"))
}

fn place(error: &serde_json::Error) -> String {
    format!("the mistake is at line {}, column {}", error.line(), error.column())
}
