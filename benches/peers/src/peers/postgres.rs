//! PostgreSQL: three servers, each a subscriber of the two others (`origin = none`, so from version 16 on).

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::unistd::{User, chown, geteuid};
use serde_json::Value;
use tokio_postgres::{NoTls, Statement};

use crate::document::Key;
use crate::peer::{Client, Peer, REGIONS, parsed, text};
use crate::servers::{Servers, free_ports};

const READY: Duration = Duration::from_secs(60);
const OWNER: &str = "bench";

pub(super) struct Postgres {
    servers: Servers,
    first_port: u16,
}

impl Postgres {
    pub(super) async fn start(binaries: &Path) -> anyhow::Result<Postgres> {
        let mut servers = Servers::new()?;
        // PostgreSQL refuses to run as root.
        let user = if geteuid().is_root() { User::from_name("nobody")? } else { None };
        let first_port = free_ports(REGIONS as u16)?;
        let folder = servers.folder().to_owned();
        if let Some(user) = &user {
            chown(&folder, Some(user.uid), Some(user.gid))?;
        }
        for region in 0..REGIONS {
            let store = servers.store(&format!("region-{region}"))?;
            if let Some(user) = &user {
                chown(&store, Some(user.uid), Some(user.gid))?;
            }
            let command = |program: &str| {
                let mut command = Command::new(binaries.join(program));
                command.current_dir(&folder).arg("-D").arg(&store);
                if let Some(user) = &user {
                    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
                }
                command
            };
            let made = command("initdb").args(["-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-locale"]).output();
            let made = made.context("`initdb` does not start")?;
            anyhow::ensure!(made.status.success(), "`initdb` failed: {}", String::from_utf8_lossy(&made.stderr));
            let config = format!(
                "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nwal_level = logical\n\
                 fsync = on\nsynchronous_commit = on\nmax_connections = 200\n",
                first_port + region as u16
            );
            fs::write(store.join("postgresql.auto.conf"), config)?;
            servers.serve(command("postgres"))?;
        }
        let postgres = Postgres { servers, first_port };
        for region in 0..REGIONS {
            postgres.execute(region, "CREATE TABLE visit (id text PRIMARY KEY, body text NOT NULL)").await?;
            postgres.execute(region, "CREATE PUBLICATION changes FOR TABLE visit").await?;
        }
        for region in 0..REGIONS {
            for other in (0..REGIONS).filter(|other| *other != region) {
                let port = first_port + other as u16;
                let subscribe = format!(
                    "CREATE SUBSCRIPTION from_{other}_to_{region} CONNECTION 'host=127.0.0.1 port={port} user={OWNER} dbname=postgres' \
                     PUBLICATION changes WITH (origin = none, copy_data = false)"
                );
                postgres.execute(region, &subscribe).await?;
            }
        }
        Ok(postgres)
    }

    async fn open(&self, region: usize) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let port = self.first_port + region as u16;
        let address = format!("host=127.0.0.1 port={port} user={OWNER} dbname=postgres");
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
        tokio::task::spawn_local(connection);
        Ok(client)
    }

    /// Waits for the server if need be.
    async fn execute(&self, region: usize, statement: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        let client = loop {
            match self.open(region).await {
                Ok(client) => break client,
                Err(error) if Instant::now() > until => anyhow::bail!("{error}\n{}", self.servers.log()),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        client.batch_execute(statement).await.with_context(|| statement.to_owned())
    }
}

impl Peer for Postgres {
    type Client = Session;

    fn servers(&self) -> &Servers {
        &self.servers
    }

    async fn connect(&self, region: usize) -> anyhow::Result<Session> {
        let client = self.open(region).await?;
        let insert = client.prepare("INSERT INTO visit (id, body) VALUES ($1, $2)").await?;
        let select = client.prepare("SELECT body FROM visit WHERE id = $1").await?;
        let delete = client.prepare("DELETE FROM visit WHERE id = $1").await?;
        Ok(Session { client, insert, select, delete })
    }
}

/// A connection with its prepared statements.
pub(super) struct Session {
    client: tokio_postgres::Client,
    insert: Statement,
    select: Statement,
    delete: Statement,
}

impl Client for Session {
    async fn write(&mut self, key: &Key, document: &Value) -> anyhow::Result<()> {
        self.client.execute(&self.insert, &[&key.id, &text(document)]).await?;
        Ok(())
    }

    async fn read(&mut self, key: &Key) -> anyhow::Result<Option<Value>> {
        let row = self.client.query_opt(&self.select, &[&key.id]).await?;
        row.map(|row| parsed(row.get::<_, &str>(0).as_bytes())).transpose()
    }

    async fn erase(&mut self, key: &Key) -> anyhow::Result<()> {
        self.client.execute(&self.delete, &[&key.id]).await?;
        Ok(())
    }
}
