//! One router replaces another without losing a connection, a request or a datagram.
//!
//! The two share the listening *sockets*, as the processes of HAProxy (`-x`), Envoy (hot restart) and gdnsd (`replace`) do.
//! Two sockets at one port (`SO_REUSEPORT`) would not do: what waits in the queue of the one that is closed is lost.
//!
//! ```text
//! new router                                  running router
//! reads its file, folds its tables
//! Request ──────── socket in the data folder ────────▶ checks the user
//!         ◀──────────────────────── Offer, descriptors  its sockets, and all that it knows of regions and nodes
//! binds what is new, reads certificates
//! probes every node, hears the other routers            serves
//! serves                                                serves
//! Ready   ───────────────────────────────────────────▶ keeps no state from now on
//!         ◀────────────────────────────────── Retires  accepts nothing more, ends its event streams,
//! writes its pid file                                   finishes what is under way, ends
//! ```
//!
//! If the new router fails anywhere before `Ready`, its descriptors are closed with it, and the running one has noticed
//! nothing but a line in its log.
//!
//! # Invariants
//! - At every moment one of the two accepts from each socket that both configurations have.
//! - The running router answers a process of its own user alone, one at a time, and waits for none without a limit.
//! - A message of the other process is bounded, and no content of it can panic.
//!
//! The descriptors go by rustix, which is here already: it gives owned descriptors, so no `unsafe` is needed. nix gives
//! plain numbers, `sendfd` and `passfd` would be a dependency for two calls, and `listenfd` only reads what systemd hands
//! over.

mod predecessor;
mod successor;
mod wire;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::ControlMemory;
use crate::sockets::Binding;

pub use predecessor::ReplaceError;
pub(crate) use predecessor::{look_around, take_over};
pub(crate) use successor::{Door, open, successor};

/// The version of these messages.
const PROTOCOL: u32 = 1;

/// The socket, in the router's data folder.
fn door(data: &Path) -> PathBuf {
    data.join("replace.sock")
}

/// The new router asks for the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    replace: u32,
}

/// The running router hands them over; their descriptors follow in the same order.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Offer {
    sockets: Vec<Binding>,
    /// What it knows. Without it, or if it cannot be read, the new router begins with the kept state.
    memory: Option<serde_json::Value>,
}

/// The new router serves.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    ready: bool,
}

/// The running router ends.
#[derive(Debug, Serialize, Deserialize)]
struct Retires {
    retires: bool,
}

/// The knowledge in an offer, if this version understands it.
fn memory(offered: Option<serde_json::Value>) -> Option<ControlMemory> {
    serde_json::from_value(offered?)
        .inspect_err(|error| {
            tracing::warn!(
                %error, action = "none; probes and nodes give it in seconds",
                "what the running router knows cannot be read by this version: this one begins with the kept state"
            );
        })
        .ok()
}
