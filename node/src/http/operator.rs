//! Statements of an operator on this node: what time it is, and that it may serve although its store may lack
//! something.

use replication::ClockStatementRefused;
use serde::Deserialize;

use super::call::Call;
use super::problem::{Kind, Problem};
use super::reply::{Reply, no_content};
use super::{audit, body};
use api::Moment;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockStatement {
    now: Moment,
    #[serde(default)]
    force: bool,
}

/// `POST /v1/admin/clock/believe`: the body states the time, so that a wrong clock is not believed by mistake.
pub(super) async fn trust_clock(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"the body must be {"now": "2026-01-01T18:30:00Z", "force"?: true} with the present time"#;
    let statement: ClockStatement =
        serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let what = format!("believe the clock: it is {}{}", statement.now, if statement.force { ", by force" } else { "" });
    audit::record(app, &call.operator, call.operator.named(""), what, "").await;
    match app.handle.trust_wall_clock(statement.now.0, statement.force).await {
        Ok(()) => {
            tracing::warn!(
                force = statement.force,
                "an operator stated that this machine's clock is right: it is believed"
            );
            Ok(no_content())
        }
        Err(None) => Err(Problem::new(Kind::Stopping, "the statement was not taken, because the node is stopping")),
        Err(Some(refused)) => Err(contradicted(&refused)),
    }
}

fn contradicted(refused: &ClockStatementRefused) -> Problem {
    let detail = match refused {
        ClockStatementRefused::OtherTime { wall, .. } => {
            format!("this machine's clock shows {}: set it right first", Moment(*wall))
        }
        ClockStatementRefused::Contradicted { agree, disagree } => format!(
            "{disagree} of {} regions heard have another time: compare their clocks; `force` overrides this",
            agree + disagree
        ),
        other => other.to_string(),
    };
    Problem::new(Kind::ClockContradicted, detail)
}

/// `POST /v1/admin/serve`: the node stops waiting for what its peers have.
pub(super) async fn serve_as_is(call: Call) -> Result<Reply, Problem> {
    tracing::warn!("an operator ordered the node to serve: its store may lack what its peers have");
    audit::record(
        &call.app,
        &call.operator,
        call.operator.named(""),
        "serve although the store may lack something".to_owned(),
        "",
    )
    .await;
    call.app.handle.serve_as_is();
    Ok(no_content())
}
