//! One question of the control plane to a node, over a connection of its own, and why it has no answer.

use std::io;
use std::time::Duration;

use api::client::{Answer, Base, Call, CallFailure};

use crate::connector::{ConnectError, Connector};
use crate::endpoint::Endpoint;

/// Most bytes of a node's own words that are kept.
const MOST: usize = 400;

/// Why a node is not fit to serve by the latest probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// For operators.
    pub(super) words: String,
    /// Whether the node cannot prove its name, or does not speak TLS.
    pub(super) is_about_tls: bool,
}

impl Trouble {
    pub(super) fn new(mut words: String) -> Trouble {
        // A node could send anything.
        words.retain(|c| !c.is_control());
        words.truncate(words.floor_char_boundary(MOST));
        Trouble { words, is_about_tls: false }
    }

    fn of(error: &ConnectError) -> Trouble {
        Trouble { is_about_tls: error.is_about_tls(), ..Trouble::new(error.in_words()) }
    }
}

/// Asks a node within `limit`, the connection included.
pub(super) async fn ask(connector: &Connector, at: &Endpoint, call: Call, limit: Duration) -> Result<Answer, Trouble> {
    let base = Base::at(at.host(), at.server_name().is_some());
    let mut unreached = None;
    let open = async {
        // A little less than the limit of the call, so that the reason is that of the connection.
        connector.ask(at, limit.mul_f64(0.95)).await.map_err(|error| {
            unreached = Some(Trouble::of(&error));
            io::Error::other("not reached")
        })
    };
    let answered = call.send_over(&base, open).await;
    answered.map_err(|error| match (unreached, error.cause()) {
        (Some(trouble), _) => trouble,
        (None, CallFailure::Late { limit }) => Trouble::new(format!("no answer within {} ms", limit.as_millis())),
        (None, _) => Trouble::new("the connection broke before the answer was there".to_owned()),
    })
}
