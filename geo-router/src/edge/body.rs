//! The body of a request on its way to a node. The way back: [`super::relay`].

mod sent;

pub(super) use sent::{Outgoing, Prepared, UploadProgress, prepare};

/// Why a body ended early. A reader must not take it for a complete one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Cut {
    /// The sender is silent.
    #[error("no more of the body came in time")]
    Silent,
    /// The body is longer than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// The connection that carried the body broke.
    #[error("the connection broke before the end of the body")]
    Broke(#[source] hyper::Error),
}
