//! The lock of a drill on the admin listener: `/v1/admin/drill` and `/v1/admin/drill/{drill}`.

use api::drills::{DrillLock, DrillLocks, NewDrillLock};
use hyper::StatusCode;
use replication::{Change, DocumentName, Query, Reason, Wall, Write};

use super::call::Call;
use super::problem::{Answered, Kind, Problem};
use super::reply::{json, no_content};
use super::{App, audit, auth, body};
use crate::drills;

/// The locks that have not lapsed, with the names of their documents, and the present time.
fn read(app: &App) -> Result<(Vec<(DocumentName, DrillLock)>, Wall), Problem> {
    let status = app.handle.status();
    let now = app.now(&status);
    let (from, to) = drills::ids(now);
    let query = Query { collection: drills::LOCKS, tenant: drills::NO_TENANT, from, to, limit: drills::MOST };
    let page = app.handle.reader().scan(&query, app.view(&status))?;
    let rows = page.rows.into_values().flatten();
    let locks = rows.filter_map(|(key, row)| Some((key.name, drills::read(&row.document().ok()?)?)));
    Ok((locks.collect(), now))
}

/// `GET /v1/admin/drill`.
pub(super) async fn list(call: Call) -> Answered {
    let (known, _) = read(&call.app)?;
    Ok(json(StatusCode::OK, &DrillLocks { locks: known.into_iter().map(|(_, lock)| lock).collect() }))
}

/// `POST /v1/admin/drill`: takes the lock.
pub(super) async fn take(call: Call) -> Answered {
    let app = &call.app;
    app.check_member()?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"a lock is {"id": "...", "name": "region-loss", "by": "...", "for": "5m"}"#;
    let new: NewDrillLock = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let new = NewDrillLock { by: call.operator.author(&new.by), ..new };
    new.check().map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    let (known, now) = read(app)?;
    let known: Vec<DrillLock> = known.into_iter().map(|(_, lock)| lock).collect();
    let lock = drills::take(new, &known, now).map_err(|other| {
        let detail = format!("`{}`, by {}, has the lock until {} at the latest", other.name, other.by, other.until);
        Problem::new(Kind::DrillRunning, detail)
    })?;
    let what = format!("drill {} takes the lock until {}", lock.name, lock.until);
    audit::record(app, &call.operator, lock.by.clone(), what, "").await;
    let mut rest = [0; 10];
    auth::random(&mut rest)?;
    let key = drills::key(&lock, rest);
    app.write("drill", Write::Change { key, change: Change::create(&key, &drills::fields(&lock)) }).await?;
    tracing::warn!(until = %lock.until, "a drill has taken the lock");
    Ok(json(StatusCode::CREATED, &lock))
}

/// `DELETE /v1/admin/drill/{drill}`.
pub(super) async fn release(call: Call) -> Answered {
    let id = call.name("drill");
    let (known, _) = read(&call.app)?;
    let Some((name, lock)) = known.into_iter().find(|(_, lock)| lock.id == id) else {
        return Err(Problem::new(Kind::NoDrill, "it has ended, its lock has lapsed, or this node never heard of it"));
    };
    let what = format!("drill {} releases the lock", lock.name);
    audit::record(&call.app, &call.operator, call.operator.named(""), what, "").await;
    call.app.write("drill", Write::Erase { name, lasting: false, reason: Reason::Owner }).await?;
    tracing::info!("a drill has released the lock");
    Ok(no_content())
}
