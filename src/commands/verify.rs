//! `meridian verify DIR`: reads the whole store of a node that does not run, and says what is damaged.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::ProgressBar;
use node::backup::UNFINISHED;
use node::storage;
use registry::LONGEST_RETENTION;
use replication::{Bucket, KeyName, Verified, missing_buckets, verify};
use serde_json::json;

use crate::support::table::table;

/// Options of `meridian verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The folder of a node's data (`data` in its configuration), or the folder in which `meridian up` keeps the node
    #[arg(value_name = "DIR", value_parser = crate::args::path())]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found in a store.
struct Found {
    buckets: Vec<(Bucket, Result<Verified, String>)>,
    missing: Vec<Bucket>,
    /// Key files, each with whether it has all its keys.
    keys: BTreeMap<KeyName, bool>,
}

/// Exits 0 if everything can be read, 1 if something is damaged or the store does not open.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let found = read(&folder(&args.dir)?)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&found.report())?);
    } else {
        found.print();
    }
    Ok(if found.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(data: &Path) -> anyhow::Result<Found> {
    if data.join(UNFINISHED).exists() {
        bail!("a restore into {} did not finish: delete the folder, and restore again", data.display());
    }
    let store = storage::open_at_rest(data).with_context(|| {
        format!(
            "the store in {} does not open: stop the node that uses it; if none does, it is damaged, and a node with \
             peers repairs it at its start",
            data.display()
        )
    })?;
    let keys = storage::keys_at_rest(data).context("the key files cannot be read")?;
    let missing = missing_buckets(&store, !keys.is_empty()).context("the store's own state cannot be read")?;
    let mut buckets = Vec::new();
    let names = store.buckets();
    let progress = ProgressBar::new(names.len() as u64);
    for bucket in names {
        progress.inc(1);
        // sled panics at some damage.
        let verified = catch_unwind(AssertUnwindSafe(|| verify(&store, bucket, LONGEST_RETENTION)));
        let verified = verified.map_err(|_| "the engine panicked".to_owned());
        buckets.push((bucket, verified.and_then(|v| v.map_err(|error| format!("{:#}", anyhow::Error::new(error))))));
    }
    progress.finish_and_clear();
    Ok(Found { buckets, missing, keys })
}

/// The folder with the store: `dir` itself, or `store` in it.
fn folder(dir: &Path) -> anyhow::Result<PathBuf> {
    match [dir.to_owned(), dir.join("store")].into_iter().find(|data| storage::engine_in(data).is_some()) {
        Some(data) => Ok(data),
        None => bail!("there is no store in {}: name the folder of a node's data", dir.display()),
    }
}

impl Found {
    fn is_whole(&self) -> bool {
        let are_readable = self.buckets.iter().all(|(_, verified)| verified.as_ref().is_ok_and(Verified::is_whole));
        are_readable && self.missing.is_empty() && self.damaged_keys().next().is_none()
    }

    fn damaged_keys(&self) -> impl Iterator<Item = KeyName> {
        self.keys.iter().filter(|(_, is_whole)| !**is_whole).map(|(name, _)| *name)
    }

    fn report(&self) -> serde_json::Value {
        let bucket = |(bucket, verified): &(Bucket, Result<Verified, String>)| match verified {
            Ok(found) => json!({
                "bucket": bucket.to_string(),
                "rows": found.rows,
                "log_entries": found.entries,
                "tombstones": found.tombstones,
                "unreadable_rows": found.unreadable_rows,
                "undecodable": found.undecodable,
                "lacking": found.lacking,
            }),
            Err(error) => json!({ "bucket": bucket.to_string(), "error": error }),
        };
        json!({
            "whole": self.is_whole(),
            "missing": self.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "buckets": self.buckets.iter().map(bucket).collect::<Vec<_>>(),
            "keys": { "files": self.keys.len(), "damaged": self.damaged_keys().map(|name| name.to_string()).collect::<Vec<_>>() },
        })
    }

    fn print(&self) {
        let head = ["bucket", "rows", "log entries", "tombstones", "unreadable rows", "undecodable", "changes missing"];
        let mut rows = table(&head);
        for (bucket, verified) in &self.buckets {
            if let Ok(f) = verified {
                let counts = [f.rows, f.entries, f.tombstones, f.unreadable_rows, f.undecodable, f.lacking];
                rows.add_row([bucket.to_string()].into_iter().chain(counts.map(|count| count.to_string())));
            }
        }
        say!("{rows}");
        say!("{} key files", self.keys.len());
        for (bucket, error) in self.buckets.iter().filter_map(|(bucket, v)| Some((bucket, v.as_ref().err()?))) {
            say!("{bucket} cannot be read to its end: {error}");
        }
        for bucket in &self.missing {
            say!("{bucket} is missing, or older than the rest of the store");
        }
        for name in self.damaged_keys() {
            say!("the key file {name} is damaged: what was sealed with it cannot be read");
        }
        if self.is_whole() {
            say!("\nThe store is whole.");
        } else {
            say!(
                "\nThe store is damaged. A node with peers fetches what is missing from them: start it and watch \
                 meridian_damaged_rows. Without peers, restore a backup."
            );
        }
    }
}
