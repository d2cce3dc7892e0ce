//! The state that a router keeps over a restart: the last verdicts, orders and changes of members, so that it does not
//! begin without any.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::names::Names;
use crate::health::Verdict;
use crate::health::orders::Orders;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Verdicts by region.
    pub agreed: BTreeMap<String, Verdict>,
    /// Orders by region.
    pub orders: Orders,
    /// Nodes that operators added, moved or removed.
    #[serde(default)]
    pub members: Members,
    /// The addresses to which the nodes' host names led last.
    #[serde(default)]
    pub names: Names,
}

impl Kept {
    /// Reads the kept state. It is empty if the file cannot be read, because probes soon give new verdicts.
    #[must_use]
    pub fn load(file: &Path) -> Kept {
        let Ok(bytes) = std::fs::read(file) else { return Kept::default() };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(
                file = %file.display(), %error, action = "none; probes and nodes give new ones in seconds",
                "the verdicts, orders and members of the last run cannot be read: the router starts without them"
            );
            Kept::default()
        })
    }

    /// Writes a new file beside the old one and then replaces it, so that there is always a complete one.
    pub async fn save(&self, file: &Path) {
        let next = file.with_extension("next");
        let saved = async {
            let bytes = serde_json::to_vec(self).map_err(std::io::Error::other)?;
            if let Some(folder) = file.parent() {
                tokio::fs::create_dir_all(folder).await?;
            }
            tokio::fs::write(&next, bytes).await?;
            tokio::fs::rename(&next, file).await
        };
        if let Err(error) = saved.await {
            tracing::warn!(
                file = %file.display(), %error, action = "make the router's data folder writable",
                "verdicts, orders and members cannot be saved: the next start begins without them"
            );
        }
    }
}
