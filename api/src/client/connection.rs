//! One HTTP/1.1 connection.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Base;

/// One HTTP/1.1 connection.
///
/// The task that waits for an answer also drives the connection. So no second task is woken for each request, which
/// would cost a load generator more than the request itself.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Driver>,
}

/// Moves a connection's bytes; gone once the connection has ended.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The request was not sent, so it had no effect.
    #[error("the connection was closed before the request was sent")]
    Unsent,
    /// The request was sent and no answer came, so it may have had an effect.
    #[error("the connection broke before an answer came")]
    Unanswered,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn open(base: &Base) -> io::Result<Connection> {
        let stream = TcpStream::connect((base.host(), base.port())).await?;
        stream.set_nodelay(true)?;
        Connection::over(stream).await
    }

    /// Speaks HTTP on a connection that the caller has made, for example with TLS.
    ///
    /// # Errors
    /// If it is closed already.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Connection> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Connection { sender, driver: Some(Box::pin(driver)) })
    }

    /// Sends a request and waits for the head of the answer; its body is read with [`drive`](Self::drive).
    ///
    /// # Errors
    /// [`SendError`], which says whether the request may have had an effect.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        let ready = drive(&mut self.driver, self.sender.ready()).await;
        if ready.is_err() {
            return Err(SendError::Unsent);
        }
        let sent = self.sender.try_send_request(request);
        drive(&mut self.driver, sent).await.map_err(|mut error| match error.take_message() {
            Some(_request) => SendError::Unsent,
            None => SendError::Unanswered,
        })
    }

    /// Waits for a future that needs the connection to move, such as the body of an answer.
    pub async fn drive<F: Future>(&mut self, wait: F) -> F::Output {
        drive(&mut self.driver, wait).await
    }
}

/// Polls `wait` and the connection together until `wait` is done.
async fn drive<F: Future>(driver: &mut Option<Driver>, wait: F) -> F::Output {
    let mut wait = std::pin::pin!(wait);
    while let Some(moving) = driver {
        tokio::select! {
            biased;
            output = &mut wait => return output,
            // The driver is dropped at once, because its end is visible to waiting requests only when it is dropped.
            _ = moving => *driver = None,
        }
    }
    wait.await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::{Base, Connection, SendError};

    /// A server that answers each connection with these answers and then closes it.
    async fn server(answers: Vec<&'static str>) -> Base {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Base::from(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        base
    }

    #[tokio::test]
    async fn a_closed_connection_is_noticed_and_told_apart() {
        let limit = Duration::from_secs(5);
        let ok = "HTTP/1.1 204 No Content\r\n\r\n";
        let request = || Request::get("/").header("host", "meridian.test").body(Full::<Bytes>::default()).unwrap();

        let mut connection = Connection::open(&server(vec![ok, ok]).await).await.unwrap();
        for _ in 0..2 {
            assert_eq!(connection.send(request()).await.unwrap().status(), 204);
        }
        // The server closes after its second answer. Whether that has arrived here or not, the call ends.
        let third = tokio::time::timeout(limit, connection.send(request())).await.expect("ends");
        assert!(third.is_err());
        let fourth = tokio::time::timeout(limit, connection.send(request())).await.expect("ends");
        assert!(matches!(fourth, Err(SendError::Unsent)));

        let mut connection = Connection::open(&server(vec![""]).await).await.unwrap();
        let cut = tokio::time::timeout(limit, connection.send(request())).await.expect("ends");
        assert!(matches!(cut, Err(SendError::Unanswered)));
    }
}
