//! The stores.

mod meridian;
mod nats;
mod postgres;
mod redis;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use crate::Options;
use crate::peer::Peer;
use crate::work::{self, Found, Load};

/// A store that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Store {
    MeridianFjall,
    MeridianSled,
    BeforeFjall,
    BeforeSled,
    Redis,
    Keydb,
    Nats,
    Postgres,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Store::MeridianFjall => "Meridian, fjall",
            Store::MeridianSled => "Meridian, sled",
            Store::BeforeFjall => "Meridian before, fjall",
            Store::BeforeSled => "Meridian before, sled",
            Store::Redis => "Redis, one primary",
            Store::Keydb => "KeyDB, active-active",
            Store::Nats => "NATS JetStream KV, R3",
            Store::Postgres => "PostgreSQL, logical mesh",
        }
    }
}

/// The stores whose binaries are there.
pub(crate) fn available(options: &Options) -> Vec<Store> {
    let has_redis = std::process::Command::new(&options.redis).arg("--version").output().is_ok();
    let each = [
        (Store::MeridianFjall, true),
        (Store::MeridianSled, true),
        (Store::BeforeFjall, options.before.is_some()),
        (Store::BeforeSled, options.before.is_some()),
        (Store::Redis, has_redis),
        (Store::Keydb, options.keydb.is_some()),
        (Store::Nats, options.nats.is_some()),
        (Store::Postgres, options.postgres.is_some()),
    ];
    each.into_iter().filter(|(_, is_there)| *is_there).map(|(store, _)| store).collect()
}

/// Starts a store, measures it under each load, and ends it.
pub(crate) async fn measure(store: Store, options: &Options, loads: &[Load]) -> anyhow::Result<Vec<Found>> {
    let given = "the store is available";
    match store {
        Store::MeridianFjall => under(meridian::Meridian::start(&options.meridian, "fjall").await?, loads).await,
        Store::MeridianSled => under(meridian::Meridian::start(&options.meridian, "sled").await?, loads).await,
        Store::BeforeFjall => {
            let before = options.before.as_ref().context(given)?;
            under(meridian::Meridian::start(before, "fjall").await?, loads).await
        }
        Store::BeforeSled => {
            let before = options.before.as_ref().context(given)?;
            under(meridian::Meridian::start(before, "sled").await?, loads).await
        }
        Store::Redis => under(redis::Redis::primary(&options.redis).await?, loads).await,
        Store::Keydb => under(redis::Redis::active(options.keydb.as_ref().context(given)?).await?, loads).await,
        Store::Nats => under(nats::Nats::start(options.nats.as_ref().context(given)?).await?, loads).await,
        Store::Postgres => {
            under(postgres::Postgres::start(options.postgres.as_ref().context(given)?).await?, loads).await
        }
    }
}

async fn under<P: Peer>(peer: P, loads: &[Load]) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for load in loads {
        let one = work::measure(&peer, *load).await?;
        eprintln!(
            "  {load}: {:.3} CPU s per 1,000 writes, {:.3} per 1,000 erasures, {:.0} writes/s, {} wrong",
            one.writes.cpu_s_per_1000,
            one.erasures.cpu_s_per_1000,
            one.writes.per_s,
            one.missing + one.left
        );
        found.push(one);
    }
    Ok(found)
}
