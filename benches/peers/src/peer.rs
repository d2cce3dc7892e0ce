//! The operations that each measured store offers.

use anyhow::Context as _;
use serde_json::Value;

use crate::document::Key;
use crate::servers::Servers;

pub(crate) const REGIONS: usize = 3;

/// A store that runs in three regions.
pub(crate) trait Peer {
    /// One connection to one region.
    type Client: Client + 'static;

    fn servers(&self) -> &Servers;

    /// The region that takes the writes of a client.
    fn home(&self, client: usize) -> usize {
        client % REGIONS
    }

    async fn connect(&self, region: usize) -> anyhow::Result<Self::Client>;
}

/// One connection to one region.
pub(crate) trait Client {
    /// Returns when the write is durable.
    async fn write(&mut self, key: &Key, document: &Value) -> anyhow::Result<()>;

    /// The document, if the region has it.
    async fn read(&mut self, key: &Key) -> anyhow::Result<Option<Value>>;

    /// Returns when the erasure is durable.
    async fn erase(&mut self, key: &Key) -> anyhow::Result<()>;
}

/// A document as most stores keep it.
pub(crate) fn text(document: &Value) -> String {
    document.to_string()
}

/// The document of a text.
pub(crate) fn parsed(text: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(text).context("the store gave back something else")
}
