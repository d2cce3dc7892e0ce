//! Takes a backup of a running node: the node encrypts it, and the bytes are carried to where it is kept.

use std::time::Duration;

use anyhow::Context as _;
use api::client::{Base, Call, CallFailure, Connection};
use http_body_util::{BodyExt as _, Limited};
use hyper::{Method, Response, body::Incoming};
use object_store::{ObjectStoreExt as _, WriteMultipart};
use serde_json::json;

use super::objects::{Object, cause};
use crate::args::Usage;

/// How long the node may send nothing.
const SILENCE: Duration = Duration::from_mins(2);
/// Parts of an upload that may be on their way.
const PARTS: usize = 4;
/// Bytes of a part. An object of S3 has 10,000 parts at most, so a backup has up to 78 GiB.
const PART: usize = 8 << 20;
/// The largest refusal that is read.
const REFUSAL: usize = 64 << 10;

/// A backup that a node has begun to send.
pub(crate) struct Taking {
    connection: Connection,
    answer: Response<Incoming>,
}

impl Taking {
    /// Asks a node for a backup, encrypted to these keys; fails with the node's words if it refuses.
    pub(crate) async fn begin(base: &Base, recipients: &[String]) -> anyhow::Result<Taking> {
        let call = Call::new(Method::POST, "/v1/admin/backup").json(&json!({"recipients": recipients}))?;
        let request = call.request(base)?;
        let mut connection = Connection::open(base).await.map_err(CallFailure::Connect).context(base.to_string())?;
        let answer =
            tokio::time::timeout(SILENCE, connection.send(request)).await.context("the node does not answer")??;
        if answer.status().is_success() {
            return Ok(Taking { connection, answer });
        }
        let status = answer.status();
        let body = connection.drive(Limited::new(answer.into_body(), REFUSAL).collect()).await;
        let problem =
            body.ok().and_then(|body| serde_json::from_slice::<api::problem::ProblemDetails>(&body.to_bytes()).ok());
        match problem {
            Some(problem) if status.as_u16() == 422 => Err(Usage::error(problem.to_string())),
            Some(problem) => Err(anyhow::anyhow!("{problem}")),
            None => Err(anyhow::anyhow!("the node answered {status}")),
        }
    }

    /// Carries the bytes to where the backup is kept; returns how many there are. `at` hears of them meanwhile.
    pub(crate) async fn to(self, to: &Object, at: &dyn Fn(u64)) -> anyhow::Result<u64> {
        self.store(to, at).await.with_context(|| format!("there is no backup in {}", to.shown))
    }

    async fn store(mut self, to: &Object, at: &dyn Fn(u64)) -> anyhow::Result<u64> {
        let cannot = || format!("cannot write {}", to.shown);
        let upload = to.store.put_multipart(&to.path).await.map_err(cause).with_context(cannot)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        match carry(&mut self.connection, self.answer.into_body(), &mut upload, at).await {
            Ok(bytes) => {
                upload.finish().await.map_err(cause).with_context(cannot)?;
                Ok(bytes)
            }
            Err(error) => {
                if let Err(left) = upload.abort().await {
                    eprintln!("what was written so far may be left beside {}: {left}", to.shown);
                }
                Err(error)
            }
        }
    }
}

async fn carry(
    connection: &mut Connection,
    mut body: Incoming,
    upload: &mut WriteMultipart,
    at: &dyn Fn(u64),
) -> anyhow::Result<u64> {
    let mut bytes = 0;
    loop {
        let frame = tokio::time::timeout(SILENCE, connection.drive(body.frame())).await;
        let Some(frame) = frame.context("the node sent nothing for two minutes")? else { return Ok(bytes) };
        let frame = frame.context("the node broke the backup off: its log says why")?;
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len() as u64;
        at(bytes);
        connection.drive(upload.wait_for_capacity(PARTS)).await.map_err(cause)?;
        upload.put(data);
    }
}
