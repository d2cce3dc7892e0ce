//! Counts connections that a listener refuses or closes for what their clients do, or do not do, by reason.
//!
//! # Invariants
//! - The labels are the listener and a reason, never a client. A client's address would be personal data, and one label for
//!   each of them would fill the memory.
//! - A connection is counted once at most, and one that its client ends is not counted.
//!
//! # Not here
//! The reasons in words for operators: `docs/exposure.md`, which a test compares with [`Ended`].

use std::error::Error;
use std::io;
use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Opts};

api::named! {
    /// Why a listener refused or closed a connection.
    Ended {
        /// The client has as many connections as one client may have.
        ClientLimit = "client_limit",
        /// There are as many connections as there may be, and none ended in time.
        Limit = "limit",
        /// The system gave no connection, for example because the process has no file descriptor left.
        System = "system",
        /// No TLS, no certificate that is accepted, or a handshake that did not end in time.
        Tls = "tls",
        /// No whole head of a first request came in time.
        HeadDeadline = "head_deadline",
        /// Nothing, or no whole head of a later request, came for so long that the connection is given up.
        Idle = "idle",
        /// What came is not HTTP, or breaks its rules.
        Protocol = "protocol",
        /// A write waited for the client for too long.
        WriteDeadline = "write_deadline",
        /// The client took nothing of an answer for too long.
        Unread = "unread",
        /// A fault that an operator ordered.
        Fault = "fault",
        /// The process stopped before the connection ended.
        Stop = "stop",
    }
}

impl Ended {
    /// All reasons.
    pub const ALL: [Ended; 11] = [
        Ended::ClientLimit,
        Ended::Limit,
        Ended::System,
        Ended::Tls,
        Ended::HeadDeadline,
        Ended::Idle,
        Ended::Protocol,
        Ended::WriteDeadline,
        Ended::Unread,
        Ended::Fault,
        Ended::Stop,
    ];

    /// Why a connection that broke with this error was closed; `None` if its client ended it.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Ended> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_timeout() {
                    return Some(Ended::Idle);
                }
                if error.is_parse() {
                    return Some(Ended::Protocol);
                }
            }
            let h2 = error.downcast_ref::<h2::Error>();
            // An error of the library's own means that the peer broke the protocol or one of its limits.
            if h2.is_some_and(h2::Error::is_library) {
                return Some(Ended::Protocol);
            }
            let io = h2.and_then(h2::Error::get_io).or_else(|| error.downcast_ref::<io::Error>());
            if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                return Some(Ended::WriteDeadline);
            }
            next = error.source();
        }
        None
    }
}

/// The counters of all listeners of a process.
#[derive(Clone, Debug)]
pub struct EndedConnections(IntCounterVec);

impl EndedConnections {
    /// Makes them; `prefix` is that of the process's metrics. The caller registers [`EndedConnections::collector`].
    ///
    /// # Errors
    /// [`prometheus::Error`] if the name is not allowed.
    pub fn new(prefix: &str) -> prometheus::Result<EndedConnections> {
        let help = "Connections that a listener refused or closed for what their clients did or did not do, by reason";
        let opts = Opts::new(format!("{prefix}_connections_ended_total"), help);
        Ok(EndedConnections(IntCounterVec::new(opts, &["listener", "reason"])?))
    }

    /// What a registry collects.
    #[must_use]
    pub fn collector(&self) -> IntCounterVec {
        self.0.clone()
    }

    /// The counters of one listener. Every reason is shown from the beginning, otherwise the first increase would not be
    /// one for a query of rates.
    #[must_use]
    pub fn of(&self, listener: &str) -> Ends {
        Ends(Arc::new(Ended::ALL.map(|reason| self.0.with_label_values(&[listener, reason.name()]))))
    }
}

/// Counts the connections that one listener ends.
#[derive(Clone, Debug)]
pub struct Ends(Arc<[IntCounter; Ended::ALL.len()]>);

impl Ends {
    /// Counts one.
    pub fn count(&self, reason: Ended) {
        self.add(reason, 1);
    }

    /// Counts some.
    pub fn add(&self, reason: Ended, connections: usize) {
        self.0[reason as usize].inc_by(connections as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::Response;
    use prometheus::{Registry, TextEncoder};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::{Ended, EndedConnections};
    use crate::client::Trusted;
    use crate::listen::{self, Gate, Listener, Serving};
    use crate::places::Places;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_listener_counts_the_connections_that_it_refuses() {
        for (all, each, gate, reason) in [
            (10, 1, Gate::Open, Ended::ClientLimit),
            // One is served, and as many wait as may.
            (1, 1_000, Gate::Open, Ended::Limit),
            (10, 10, Gate::Refuses, Ended::Fault),
        ] {
            let ended = EndedConnections::new("x").unwrap();
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let places = Places::new(all, each, Trusted::default(), "limits.connections");
            let listener = Listener::limited(socket, places).counting(ended.of("public"));
            let (_gate, gate) = watch::channel(gate);
            let serving = Serving { idle: HOUR, open: None, gate: Some(gate), tell_peer: false, unread: HOUR };
            let (_stop, stopped) = watch::channel(false);
            let answer = |_| async { Response::new(Empty::<Bytes>::new()) };
            tokio::spawn(listen::serve(listener, serving, stopped, answer));
            let before = match reason {
                Ended::ClientLimit => 1,
                Ended::Limit => 257,
                _ => 0,
            };
            let mut open = Vec::new();
            for _ in 0..before {
                open.push(TcpStream::connect(address).await.unwrap());
            }
            let mut refused = TcpStream::connect(address).await.unwrap();
            let closed = timeout(Duration::from_secs(20), refused.read_u8()).await.expect("it is closed");
            assert!(closed.is_err(), "{reason}");
            for one in Ended::ALL {
                let counted = ended.collector().with_label_values(&["public", one.name()]).get();
                assert_eq!(counted, u64::from(one == reason), "{reason}: {one}");
            }
        }
    }

    #[test]
    fn every_reason_is_shown_from_the_beginning_and_counted_at_its_listener() {
        let ended = EndedConnections::new("x").unwrap();
        let registry = Registry::new();
        registry.register(Box::new(ended.collector())).unwrap();
        let (public, _admin) = (ended.of("public"), ended.of("admin"));
        for (times, reason) in Ended::ALL.into_iter().enumerate() {
            public.add(reason, times + 1);
        }
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for (times, reason) in Ended::ALL.into_iter().enumerate() {
            for (listener, count) in [("public", times + 1), ("admin", 0)] {
                let line =
                    format!("x_connections_ended_total{{listener=\"{listener}\",reason=\"{reason}\"}} {count}\n");
                assert!(text.contains(&line), "{line}{text}");
            }
        }
    }

    #[test]
    fn operators_find_every_reason_in_the_documents() {
        let exposure = include_str!("../../docs/exposure.md");
        for reason in Ended::ALL {
            assert!(exposure.contains(&format!("| `{reason}` |")), "{reason}");
        }
    }

    #[test]
    fn only_an_error_that_we_caused_has_a_reason() {
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(Ended::of(&late), Some(Ended::WriteDeadline));
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe] {
            assert_eq!(Ended::of(&io::Error::from(kind)), None);
        }
        assert_eq!(Ended::of(&h2::Error::from(h2::Reason::PROTOCOL_ERROR)), None);
    }
}
