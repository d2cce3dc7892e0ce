//! One GET over its own connection, with a deadline and a size limit.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Answers of the control plane are small.
const SIZE_LIMIT: usize = 256 * 1024;

/// Why there is no answer. It never contains what the other side sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The connection failed or broke.
    #[error("cannot reach it")]
    Io(#[from] std::io::Error),
    /// The other side does not speak HTTP.
    #[error("the answer is not HTTP")]
    Http(#[from] hyper::Error),
    /// An answer larger than any answer of the control plane.
    #[error("the answer is too large or broke off")]
    Body,
    /// Not in time.
    #[error("no answer in time")]
    Late,
    /// The path is not valid, which is our own fault.
    #[error("the request is not valid")]
    Request(#[from] hyper::http::Error),
}

/// Fetches `path` over its own connection, which also shows that the other side still accepts connections.
pub(super) async fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Response<Bytes>, FetchError> {
    tokio::time::timeout(limit, exchange(address, path)).await.map_err(|_| FetchError::Late)?
}

async fn exchange(address: SocketAddr, path: &str) -> Result<Response<Bytes>, FetchError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, HeaderValue::from_static("meridian-router"))
        .header(CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, SIZE_LIMIT).collect().await.map_err(|_| FetchError::Body)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // The connection runs in the same task and ends with it.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        done = &mut answer => done,
        _ = connection => answer.await,
    }
}
