//! One kept connection of a synthetic client.

use std::time::Duration;

use api::client::{Base, Call, Connection, SendError};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, StatusCode};

/// Largest answer that a client reads.
const LARGEST: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request had no effect.
    Unsent,
    /// The connection broke: the request may have had an effect.
    Broken,
    /// There was no answer in time: the request may have had an effect.
    Late,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A connection that is kept until it breaks or another address is wanted.
#[derive(Default)]
pub(crate) struct Wire {
    open: Option<(Base, Connection)>,
}

impl Wire {
    /// Sends a request and reads the whole answer, within `limit`.
    pub(crate) async fn send(&mut self, base: &Base, call: &Call, limit: Duration) -> Result<Reply, Failure> {
        // The connection leaves its place while it is in use: after a timeout it is in the middle of an answer.
        let kept = self.open.take().filter(|(open, _)| open == base).map(|(_, connection)| connection);
        match tokio::time::timeout(limit, exchange(kept, base, call)).await {
            Ok(Ok((connection, reply))) => {
                self.open = Some((base.clone(), connection));
                Ok(reply)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_late) => Err(Failure::Late),
        }
    }
}

async fn exchange(kept: Option<Connection>, base: &Base, call: &Call) -> Result<(Connection, Reply), Failure> {
    let mut connection = match kept {
        Some(mut connection) => match once(&mut connection, base, call).await {
            Ok(reply) => return Ok((connection, reply)),
            // The server closed an idle connection.
            Err(Failure::Unsent) => Connection::open(base).await.map_err(|_| Failure::Unsent)?,
            Err(failure) => return Err(failure),
        },
        None => Connection::open(base).await.map_err(|_| Failure::Unsent)?,
    };
    let reply = once(&mut connection, base, call).await?;
    Ok((connection, reply))
}

async fn once(connection: &mut Connection, base: &Base, call: &Call) -> Result<Reply, Failure> {
    let request = call.clone().request(base).map_err(|_| Failure::Unsent)?;
    let answer = connection.send(request).await.map_err(|error| match error {
        SendError::Unsent => Failure::Unsent,
        SendError::Unanswered => Failure::Broken,
    })?;
    let (head, body) = answer.into_parts();
    let body = connection.drive(Limited::new(body, LARGEST).collect()).await.map_err(|_| Failure::Broken)?;
    Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
}
