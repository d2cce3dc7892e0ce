//! Options that the commands of operators share: which nodes are asked, and who orders something and why.

use std::path::PathBuf;

use anyhow::Context as _;
use api::NodeName;
use api::client::{self, Answer, Base, Call};
use api::status::NodeStatus;
use clap::Args;

use super::deployment;
use crate::args::{self, Usage, default_data};

/// The nodes to ask.
#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// A node's admin address, such as http://127.0.1.1:7082; repeat it for more: the first that answers takes an order
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) admin: Vec<Base>,
    /// Without --admin: the folder of a deployment that `meridian up` made
    #[arg(long, value_name = "DIR", value_parser = args::path(), default_value_os_t = default_data(),
        conflicts_with = "admin")]
    pub(crate) data: PathBuf,
}

impl Nodes {
    /// Their admin listeners.
    pub(crate) fn admins(&self) -> anyhow::Result<Vec<Base>> {
        deployment::node_admins(&self.admin, &self.data)
    }

    /// The first answer of any of them.
    pub(crate) async fn ask(&self, call: &Call) -> anyhow::Result<Answer> {
        deployment::first_answer(&self.admin, &self.data, call).await
    }

    /// Every node that answers, with what it says of itself and its peers.
    pub(crate) async fn statuses(&self) -> anyhow::Result<Vec<(Base, NodeStatus)>> {
        let mut answered = Vec::new();
        for base in self.admins()? {
            if let Ok(status) = client::get(&base, "/v1/admin/status").await {
                answered.push((base, status));
            }
        }
        anyhow::ensure!(!answered.is_empty(), "no node answers (`meridian status` shows the nodes)");
        Ok(answered)
    }
}

/// One node.
#[derive(Debug, Args)]
pub(crate) struct OneNode {
    /// The node's name, such as eu-central, in the deployment in --data
    #[arg(long, value_name = "NAME", required_unless_present = "admin", conflicts_with = "admin")]
    node: Option<NodeName>,
    /// The node's admin address, such as http://127.0.1.1:7082
    #[arg(long, value_name = "URL")]
    admin: Option<Base>,
    /// The folder of a deployment that `meridian up` made
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), value_parser = args::path())]
    data: PathBuf,
}

impl OneNode {
    /// Its admin listener.
    pub(crate) fn base(&self) -> anyhow::Result<Base> {
        if let Some(base) = &self.admin {
            return Ok(deployment::authorised(base.clone(), Some(&self.data)));
        }
        let nodes =
            deployment::read(&self.data).context("no node can be looked up (give --admin URL, or --data DIR)")?;
        let wanted = |node: &&deployment::Deployed| Some(&node.config.name) == self.node.as_ref();
        let node = nodes.iter().find(wanted).ok_or_else(|| {
            let names: Vec<&str> = nodes.iter().map(|node| node.config.name.as_str()).collect();
            Usage::error(format!("{} has no such node; it has {}", self.data.display(), names.join(", ")))
        })?;
        Ok(deployment::authorised(Base::from(node.config.listen.admin.first()), Some(&self.data)))
    }
}

/// Who orders something.
#[derive(Clone, Debug, Args)]
pub(crate) struct Author {
    /// Author of the order, shown to other operators
    #[arg(long, env = "USER", default_value = "operator")]
    pub(crate) by: String,
}

/// Who orders something, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct Signature {
    /// Reason, shown to other operators
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) author: Author,
}

impl Signature {
    /// `by` and `reason` of an order.
    pub(crate) fn parts(self) -> (String, String) {
        (self.author.by, self.reason)
    }
}
