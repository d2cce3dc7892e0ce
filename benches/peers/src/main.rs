//! The same work for Meridian and for other replicated stores; `run` describes it.

mod document;
mod peer;
mod peers;
mod servers;
mod table;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::peers::Store;
use crate::table::Rounds;
use crate::work::Load;

/// The same durable, replicated writes for Meridian and for other stores, in turns.
#[derive(Parser)]
#[command(name = "benches/peers/run")]
pub(crate) struct Options {
    /// The build of Meridian to measure.
    #[arg(long, value_name = "BINARY")]
    pub(crate) meridian: PathBuf,
    /// Another build of Meridian, in the same run.
    #[arg(long, value_name = "BINARY")]
    pub(crate) before: Option<PathBuf>,
    /// `redis-server`, if it is not in the path.
    #[arg(long, value_name = "BINARY", default_value = "redis-server")]
    pub(crate) redis: PathBuf,
    /// `keydb-server`.
    #[arg(long, value_name = "BINARY")]
    pub(crate) keydb: Option<PathBuf>,
    /// `nats-server`.
    #[arg(long, value_name = "BINARY")]
    pub(crate) nats: Option<PathBuf>,
    /// The folder with `initdb` and `postgres`, of PostgreSQL 16 or later.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) postgres: Option<PathBuf>,
    /// Only these stores.
    #[arg(long, value_enum, num_args = 1.., value_name = "STORE")]
    only: Vec<Store>,
    /// The store that ratios refer to; without KeyDB it is Redis.
    #[arg(long, value_enum, value_name = "STORE")]
    against: Option<Store>,
    /// Numbers of clients, each with the number of its writes in all.
    #[arg(long, num_args = 1.., value_name = "CLIENTS:WRITES", default_values = ["64:20000", "12:8000", "3:4000"])]
    loads: Vec<Load>,
    /// How often each store is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let local = LocalSet::new();
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        code = local.run_until(measure(&options)) => code,
        // The servers are ended when what started them is dropped.
        interrupt = tokio::signal::ctrl_c() => interrupt.map(|()| ExitCode::from(130)).context("no signals"),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}

async fn measure(options: &Options) -> anyhow::Result<ExitCode> {
    let stores = peers::available(options);
    let stores: Vec<Store> =
        stores.into_iter().filter(|store| options.only.is_empty() || options.only.contains(store)).collect();
    anyhow::ensure!(!stores.is_empty(), "no store is left to measure");
    let mut figures: BTreeMap<Load, Rounds> = BTreeMap::new();
    for round in 0..options.rounds {
        // Each order once, so that a machine that becomes slower favours none.
        let mut order = stores.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        for store in order {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, store.name());
            let found = peers::measure(store, options, &options.loads).await;
            let found = found.with_context(|| format!("{} cannot be measured", store.name()))?;
            for (load, found) in options.loads.iter().zip(found) {
                figures.entry(*load).or_default().entry(store).or_default().push(found);
            }
            // After each store, so that one that fails later loses no figures.
            if let Some(file) = &options.json {
                let named: BTreeMap<String, &Rounds> =
                    figures.iter().map(|(load, of)| (load.to_string(), of)).collect();
                fs::write(file, serde_json::to_vec_pretty(&named)?)?;
            }
        }
    }
    let against = options.against.into_iter().chain([Store::Keydb, Store::Redis]).find(|store| stores.contains(store));
    for (load, rounds) in figures.iter().rev() {
        println!("\n{} clients, {} writes, medians of {}", load.clients, load.writes, options.rounds);
        println!("{}", table::render(rounds, against));
    }
    let lost: usize =
        figures.values().flat_map(BTreeMap::values).flatten().map(|found| found.missing + found.left).sum();
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
