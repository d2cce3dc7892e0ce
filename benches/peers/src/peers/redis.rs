//! Redis (one primary, two replicas) and KeyDB (three active replicas), each with an append-only file that is synced before
//! a write is acknowledged.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::document::Key;
use crate::peer::{Client, Peer, REGIONS, parsed, text};
use crate::servers::{Servers, free_ports};

const READY: Duration = Duration::from_secs(60);
/// As long as visits are kept.
const EXPIRES_S: u64 = 14 * 86_400;

pub(super) struct Redis {
    servers: Servers,
    first_port: u16,
    is_active: bool,
}

impl Redis {
    pub(super) async fn primary(binary: &Path) -> anyhow::Result<Redis> {
        Redis::start(binary, false).await
    }

    pub(super) async fn active(binary: &Path) -> anyhow::Result<Redis> {
        Redis::start(binary, true).await
    }

    async fn start(binary: &Path, is_active: bool) -> anyhow::Result<Redis> {
        let mut servers = Servers::new()?;
        let first_port = free_ports(3)?;
        for region in 0..REGIONS {
            let port = first_port + region as u16;
            let mut server = Command::new(binary);
            server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
            server.args(["--port", &port.to_string(), "--dir"]).arg(servers.store(&format!("region-{region}"))?);
            if is_active {
                server.args(["--active-replica", "yes", "--multi-master", "yes"]);
            }
            let primaries =
                (0..REGIONS).filter(|other| if is_active { *other != region } else { region > 0 && *other == 0 });
            for other in primaries {
                server.args(["--replicaof", "127.0.0.1", &(first_port + other as u16).to_string()]);
            }
            servers.serve(server)?;
        }
        let redis = Redis { servers, first_port, is_active };
        let until = Instant::now() + READY;
        while !redis.is_linked().await.unwrap_or(false) {
            anyhow::ensure!(Instant::now() < until, "the replicas are not linked:\n{}", redis.servers.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(redis)
    }

    /// Whether every replica has the first full copy of each primary.
    async fn is_linked(&self) -> anyhow::Result<bool> {
        let mut links = 0;
        for region in 0..REGIONS {
            let mut connection = self.connect(region).await?.0;
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
            // KeyDB has a line for all links as well.
            let is_up = |line: &&str| line.trim_end().ends_with("link_status:up") && !line.starts_with("master_global");
            links += info.lines().filter(is_up).count();
            if info.contains("sync_in_progress:1") {
                return Ok(false);
            }
        }
        Ok(links == if self.is_active { REGIONS * (REGIONS - 1) } else { REGIONS - 1 })
    }
}

impl Peer for Redis {
    type Client = Resp;

    fn servers(&self) -> &Servers {
        &self.servers
    }

    fn home(&self, client: usize) -> usize {
        if self.is_active { client % REGIONS } else { 0 }
    }

    async fn connect(&self, region: usize) -> anyhow::Result<Resp> {
        let client = redis::Client::open(("127.0.0.1", self.first_port + region as u16))?;
        Ok(Resp(client.get_multiplexed_async_connection().await?))
    }
}

/// A connection that speaks RESP.
pub(super) struct Resp(MultiplexedConnection);

impl Client for Resp {
    async fn write(&mut self, key: &Key, document: &Value) -> anyhow::Result<()> {
        let set = redis::cmd("SET").arg(&key.id).arg(text(document)).arg("EX").arg(EXPIRES_S).to_owned();
        Ok(set.exec_async(&mut self.0).await?)
    }

    async fn read(&mut self, key: &Key) -> anyhow::Result<Option<Value>> {
        let found: Option<Vec<u8>> = redis::cmd("GET").arg(&key.id).query_async(&mut self.0).await?;
        found.map(|found| parsed(&found)).transpose()
    }

    async fn erase(&mut self, key: &Key) -> anyhow::Result<()> {
        Ok(redis::cmd("DEL").arg(&key.id).exec_async(&mut self.0).await?)
    }
}
