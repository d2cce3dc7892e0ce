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

use std::path::PathBuf;

use clap::Args;

use crate::args::default_data;
use crate::support::deployment;
use api::client::{self, Answer, Base, Call};
use api::status::NodeStatus;

pub(crate) use add::{AddArgs, add};
pub(crate) use orders::{DrainArgs, ListArgs, RestoreArgs, drain, list, restore};
pub(crate) use remove::{RemoveArgs, remove};

/// The nodes that take orders.
#[derive(Debug, Args)]
struct Nodes {
    /// A node's admin address, such as http://127.0.1.1:7082; repeat it for more: the first that answers takes the
    /// order
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    admin: Vec<Base>,
    /// Without --admin: the folder of a deployment that `meridian up` made
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), conflicts_with = "admin")]
    data: PathBuf,
}

impl Nodes {
    async fn ask(&self, call: &Call) -> anyhow::Result<Answer> {
        deployment::first_answer(&self.admin, &self.data, call).await
    }

    /// Every node that answers, with what it says of itself and its peers.
    async fn statuses(&self) -> anyhow::Result<Vec<(Base, NodeStatus)>> {
        let mut answered = Vec::new();
        for base in deployment::node_admins(&self.admin, &self.data)? {
            if let Ok(status) = client::get(&base, "/v1/admin/status").await {
                answered.push((base, status));
            }
        }
        anyhow::ensure!(!answered.is_empty(), "no node answers (`meridian status` shows the nodes)");
        Ok(answered)
    }
}
