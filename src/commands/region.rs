//! `meridian region`: operators' orders on regions, and which regions there are. Any live node takes an order; all nodes
//! and routers follow it.
//!
//! | file | commands |
//! | --- | --- |
//! | `orders.rs` | `drain`, `restore`, `list` |
//! | `add.rs`, `filling.rs` | `add`: a region joins while the deployment runs, and fills |
//! | `remove.rs` | `remove`: a region leaves for good |

mod add;
mod filling;
mod orders;
mod remove;

pub(crate) use add::{AddArgs, add};
pub(crate) use orders::{DrainArgs, ListArgs, RestoreArgs, drain, list, restore};
pub(crate) use remove::{RemoveArgs, remove};
