//! Bodies on their way: a client's to a node ([`sent`]) and a node's to a client ([`answer`]).

mod answer;
mod sent;

pub(super) use answer::{Answer, Origin, Relay};
pub(super) use sent::{Outgoing, Prepared, Progress, prepare};

/// Why a body ended early. Whoever reads it must not take it for a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Cut {
    /// Whoever sends it is silent.
    #[error("no more of the body came in time")]
    Silent,
    /// It is longer than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// The connection it came on broke.
    #[error("the body broke off")]
    Broke(#[source] hyper::Error),
}
