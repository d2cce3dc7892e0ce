//! Meridian: `meridian up` with one of its engines. The client speaks HTTP/1.1 as guests' browsers do.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use api::client::{Base, Connection};
use api::headers::SECRET;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use serde::Deserialize;
use serde_json::Value;

use crate::document::Key;
use crate::peer::{Client, Peer, parsed, text};
use crate::servers::{Servers, free_ports};

const READY: Duration = Duration::from_secs(90);
const NODES: [&str; 3] = ["eu-central", "us-east", "ap-southeast"];

pub(super) struct Meridian {
    servers: Servers,
    base_port: u16,
    venue: String,
}

#[derive(Deserialize)]
struct DemoVenue {
    venue_id: String,
}

impl Meridian {
    pub(super) async fn start(binary: &Path, engine: &str) -> anyhow::Result<Meridian> {
        let mut servers = Servers::new()?;
        let folder = servers.folder().join("deployment");
        let base_port = free_ports(4)?;
        let mut up = Command::new(binary);
        up.arg("up").arg("--data").arg(&folder).args(["--engine", engine, "--base-port", &base_port.to_string()]);
        servers.start(up)?;
        // The demo venue is the last thing that `up` waits for.
        let until = Instant::now() + READY;
        let demo: DemoVenue = loop {
            if let Some(demo) =
                fs::read(folder.join("demo-venue.json")).ok().and_then(|file| serde_json::from_slice(&file).ok())
            {
                break demo;
            }
            anyhow::ensure!(Instant::now() < until, "`meridian up` is not ready:\n{}", servers.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        for node in NODES {
            let pid = fs::read_to_string(folder.join(node).join("pid"))?;
            servers.count(pid.trim().parse().context("a process id")?);
            servers.store(&format!("deployment/{node}"))?;
        }
        Ok(Meridian { servers, base_port, venue: demo.venue_id })
    }
}

impl Peer for Meridian {
    type Client = Guest;

    fn servers(&self) -> &Servers {
        &self.servers
    }

    async fn connect(&self, region: usize) -> anyhow::Result<Guest> {
        let base: Base = format!("http://127.0.1.{}:{}", region + 1, self.base_port).parse()?;
        let connection = Connection::open(&base).await.context("a node does not answer")?;
        Ok(Guest { connection, base, visits: format!("/v1/venues/{}/visits", self.venue) })
    }
}

pub(super) struct Guest {
    connection: Connection,
    base: Base,
    visits: String,
}

impl Guest {
    async fn call(&mut self, method: Method, key: &Key, body: Option<&Value>) -> anyhow::Result<(u16, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{}", self.visits, key.id))
            .header(HOST, self.base.authority())
            .header(SECRET, &key.secret)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.map(|body| Bytes::from(text(body))).unwrap_or_default()))?;
        let answer = self.connection.send(request).await?;
        let status = answer.status().as_u16();
        let body = self.connection.drive(answer.into_body().collect()).await?.to_bytes();
        Ok((status, body))
    }
}

impl Client for Guest {
    async fn write(&mut self, key: &Key, document: &Value) -> anyhow::Result<()> {
        let (status, body) = self.call(Method::PUT, key, Some(document)).await?;
        anyhow::ensure!(status == 201, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    async fn read(&mut self, key: &Key) -> anyhow::Result<Option<Value>> {
        match self.call(Method::GET, key, None).await? {
            (200, body) => {
                let visit = parsed(&body)?;
                Ok(Some(serde_json::json!({ "persons": visit["persons"] })))
            }
            (404 | 410, _) => Ok(None),
            (status, body) => anyhow::bail!("{status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn erase(&mut self, key: &Key) -> anyhow::Result<()> {
        let (status, body) = self.call(Method::DELETE, key, None).await?;
        anyhow::ensure!(status == 204, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}
