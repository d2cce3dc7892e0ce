//! NATS JetStream: a key-value bucket with three replicas, each of which syncs before it answers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, kv};
use serde_json::Value;

use crate::document::Key;
use crate::peer::{Client, Peer, REGIONS, parsed, text};
use crate::servers::{Servers, free_ports};

const READY: Duration = Duration::from_secs(60);
const BUCKET: &str = "visits";
const KEPT: Duration = Duration::from_secs(14 * 86_400);

pub(super) struct Nats {
    servers: Servers,
    first_port: u16,
}

impl Nats {
    pub(super) async fn start(binary: &Path) -> anyhow::Result<Nats> {
        let mut servers = Servers::new()?;
        let first_port = free_ports(2 * REGIONS as u16)?;
        let link = |region: usize| first_port + (REGIONS + region) as u16;
        let routes: Vec<String> = (0..REGIONS).map(|region| format!("nats://127.0.0.1:{}", link(region))).collect();
        for region in 0..REGIONS {
            let (store, port) = (servers.store(&format!("region-{region}"))?, first_port + region as u16);
            let file = servers.folder().join(format!("region-{region}.conf"));
            let config = format!(
                "server_name: region-{region}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
                 cluster {{ name: regions, listen: 127.0.0.1:{}, routes: {routes:?} }}\n",
                link(region)
            );
            fs::write(&file, config)?;
            let mut server = Command::new(binary);
            server.arg("-c").arg(file);
            servers.serve(server)?;
        }
        let nats = Nats { servers, first_port };
        let until = Instant::now() + READY;
        while let Err(error) = nats.create().await {
            anyhow::ensure!(Instant::now() < until, "no bucket: {error}\n{}", nats.servers.log());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(nats)
    }

    async fn context(&self, region: usize) -> anyhow::Result<jetstream::Context> {
        let client = async_nats::connect(format!("nats://127.0.0.1:{}", self.first_port + region as u16)).await?;
        Ok(jetstream::new(client))
    }

    async fn create(&self) -> anyhow::Result<()> {
        let config = kv::Config {
            bucket: BUCKET.into(),
            num_replicas: REGIONS,
            max_age: KEPT,
            history: 1,
            ..kv::Config::default()
        };
        self.context(0).await?.create_key_value(config).await?;
        Ok(())
    }
}

impl Peer for Nats {
    type Client = Bucket;

    fn servers(&self) -> &Servers {
        &self.servers
    }

    async fn connect(&self, region: usize) -> anyhow::Result<Bucket> {
        Ok(Bucket(self.context(region).await?.get_key_value(BUCKET).await?))
    }
}

pub(super) struct Bucket(kv::Store);

impl Client for Bucket {
    async fn write(&mut self, key: &Key, document: &Value) -> anyhow::Result<()> {
        self.0.put(&key.id, text(document).into()).await?;
        Ok(())
    }

    async fn read(&mut self, key: &Key) -> anyhow::Result<Option<Value>> {
        self.0.get(&key.id).await?.map(|found| parsed(&found)).transpose()
    }

    async fn erase(&mut self, key: &Key) -> anyhow::Result<()> {
        Ok(self.0.delete(&key.id).await?)
    }
}
