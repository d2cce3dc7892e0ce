//! The lock of a drill on the admin listener: `/v1/admin/drill` and `/v1/admin/drill/{drill}`.

use api::drills::{DrillLock, DrillLocks, NewDrillLock};
use hyper::StatusCode;
use replication::{Document, Wall};

use super::call::Call;
use super::problem::{Answered, Kind, Problem};
use super::reply::{json, no_content};
use super::{App, body, orders};
use crate::drills;

/// The cluster document, the locks that it holds, and the present time.
fn read(app: &App) -> Result<(Option<Document>, Vec<DrillLock>, Wall), Problem> {
    let status = app.handle.status();
    let (document, now) = (orders::document(app, &status)?, app.now(&status));
    let locks = document.as_ref().map(|document| drills::read(document, now)).unwrap_or_default();
    Ok((document, locks, now))
}

/// `GET /v1/admin/drill`.
pub(super) async fn list(call: Call) -> Answered {
    let (_, locks, _) = read(&call.app)?;
    Ok(json(StatusCode::OK, &DrillLocks { locks }))
}

/// `POST /v1/admin/drill`: takes the lock, or renews it for the drill that has it.
pub(super) async fn take(call: Call) -> Answered {
    let app = &call.app;
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"a lock is {"id": "...", "name": "region-loss", "by": "...", "for": "5m"}"#;
    let new: NewDrillLock = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    new.check().map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    let (document, known, now) = read(app)?;
    let lock = drills::take(new, &known, now).map_err(|other| {
        let detail = format!("`{}`, by {}, has the lock until {} at the latest", other.name, other.by, other.until);
        Problem::new(Kind::DrillRunning, detail)
    })?;
    orders::write(app, document, drills::FIELD, drills::value(&lock)).await?;
    tracing::warn!(until = %lock.until, "a drill has taken the lock");
    Ok(json(StatusCode::CREATED, &lock))
}

/// `DELETE /v1/admin/drill/{drill}`.
pub(super) async fn release(call: Call) -> Answered {
    let id = call.name("drill");
    let (document, known, _) = read(&call.app)?;
    if !known.iter().any(|lock| lock.id == id) {
        return Err(Problem::new(Kind::NoDrill, "it has ended, its lock has lapsed, or this node never heard of it"));
    }
    orders::write(&call.app, document, drills::FIELD, drills::released(id, &known)).await?;
    tracing::info!("a drill has released the lock");
    Ok(no_content())
}
