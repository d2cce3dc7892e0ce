//! `meridian verify DIR`: reads the whole store of a node that does not run, and says what is damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::ProgressBar;
use node::storage;
use registry::LONGEST_RETENTION;
use replication::{Bucket, Verified, missing_buckets, verify};
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

/// Exits 0 if everything can be read, 1 if something is damaged or the store does not open.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let data = folder(&args.dir)?;
    let store = storage::open_at_rest(&data).with_context(|| {
        format!(
            "the store in {} does not open: stop the node that uses it; if none does, it is damaged, and a node with \
             peers repairs it at its start",
            data.display()
        )
    })?;
    let mut found: Vec<(Bucket, Result<Verified, String>)> = Vec::new();
    let buckets = store.buckets();
    let progress = ProgressBar::new(buckets.len() as u64);
    for bucket in &buckets {
        progress.inc(1);
        // sled panics at some damage.
        let verified = catch_unwind(AssertUnwindSafe(|| verify(&store, *bucket, LONGEST_RETENTION)));
        let verified = verified.map_err(|_| "the engine panicked".to_owned());
        found.push((*bucket, verified.and_then(|v| v.map_err(|error| format!("{:#}", anyhow::Error::new(error))))));
    }
    progress.finish_and_clear();
    let missing = missing_buckets(&store).context("the store's own state cannot be read")?;
    let is_readable = found.iter().all(|(_, verified)| verified.as_ref().is_ok_and(Verified::is_whole));
    let is_whole = is_readable && missing.is_empty();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report(is_whole, &found, &missing))?);
    } else {
        print(&found, &missing, is_whole);
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder with the store: `dir` itself, or `store` in it.
fn folder(dir: &Path) -> anyhow::Result<PathBuf> {
    match [dir.to_owned(), dir.join("store")].into_iter().find(|data| storage::engine_in(data).is_some()) {
        Some(data) => Ok(data),
        None => bail!("there is no store in {}: name the folder of a node's data", dir.display()),
    }
}

fn report(is_whole: bool, found: &[(Bucket, Result<Verified, String>)], missing: &[Bucket]) -> serde_json::Value {
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
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    json!({ "whole": is_whole, "missing": missing, "buckets": found.iter().map(bucket).collect::<Vec<_>>() })
}

fn print(found: &[(Bucket, Result<Verified, String>)], missing: &[Bucket], is_whole: bool) {
    let head = ["bucket", "rows", "log entries", "tombstones", "unreadable rows", "undecodable", "changes missing"];
    let mut rows = table(&head);
    for (bucket, verified) in found {
        if let Ok(found) = verified {
            let counts =
                [found.rows, found.entries, found.tombstones, found.unreadable_rows, found.undecodable, found.lacking];
            rows.add_row([bucket.to_string()].into_iter().chain(counts.map(|count| count.to_string())));
        }
    }
    say!("{rows}");
    for (bucket, error) in found.iter().filter_map(|(bucket, verified)| Some((bucket, verified.as_ref().err()?))) {
        say!("{bucket} cannot be read to its end: {error}");
    }
    for bucket in missing {
        say!("{bucket} is missing, or older than the rest of the store");
    }
    if is_whole {
        say!("\nThe store is whole.");
    } else {
        say!(
            "\nThe store is damaged. A node with peers fetches what is missing from them: start it and watch \
              meridian_damaged_rows. Without peers, restore a backup."
        );
    }
}
