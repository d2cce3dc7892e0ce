//! Connections of clients while a fault is active.

use api::faults::Act;
use service::listen::Gate;

/// What a fault lets connections of clients do.
pub(super) fn gate(act: &Act) -> Gate {
    match act {
        Act::RefuseClients {} => Gate::Refuses,
        Act::HangClients {} => Gate::Hangs,
        _ => Gate::Open,
    }
}
