//! What a router keeps over a restart: the last verdicts and orders, so that it wakes up with what was agreed and not
//! with nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::health::Verdict;
use crate::health::orders::Orders;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// By region.
    pub agreed: BTreeMap<String, Verdict>,
    /// By region.
    pub orders: Orders,
}

impl Kept {
    /// Reads what was kept; nothing if there is nothing that can be read: probes will tell.
    #[must_use]
    pub fn load(file: &Path) -> Kept {
        let Ok(bytes) = std::fs::read(file) else { return Kept::default() };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "what was kept of the last run cannot be read; starting afresh");
            Kept::default()
        })
    }

    /// Writes beside the old file and replaces it, so that there always is a whole one.
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
            tracing::warn!(file = %file.display(), %error, "verdicts are not kept for the next start");
        }
    }
}
