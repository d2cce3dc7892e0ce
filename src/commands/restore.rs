//! `meridian restore`: puts a backup into the empty folder of a node that does not run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ::node::backup::{Target, restore as put_back};
use ::node::backup_key::Identity;
use ::node::config::NodeConfig;
use anyhow::Context as _;
use api::Moment;
use clap::Args;
use jiff::Timestamp;
use object_store::ObjectStoreExt as _;
use replication::Wall;
use serde_json::json;
use service::private;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::args::Usage;
use crate::support::objects::{Object, cause};

/// Options of `meridian restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup: a file, or s3://bucket/key
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// The file with the secret key, as `meridian backup key` made it
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    identity: PathBuf,
    /// The configuration of the node; the folder that it names in `data` must be empty or missing
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    config: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Puts a backup back.
pub(crate) async fn restore(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    private::hide_new_files();
    let config = NodeConfig::load(&args.config)?;
    private::check_key(&args.identity).map_err(|error| Usage::error(error.to_string()))?;
    let shown = args.identity.display();
    let identity = Identity::load(&args.identity).map_err(|error| Usage::error(format!("{shown}: {error}")))?;
    let identity = identity.map_err(|error| Usage::error(format!("{shown} {error}")))?;
    let from = Object::at(&args.from, None)?;
    let found =
        from.store.get(&from.path).await.map_err(cause).with_context(|| format!("cannot read {}", from.shown))?;
    let backup = SyncIoBridge::new(StreamReader::new(found.into_stream()));
    let begun = Instant::now();
    let now = Wall(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default());
    let (data, storage) = (config.data.clone(), config.storage);
    let restored = tokio::task::spawn_blocking(move || {
        let mut told = Instant::now();
        let mut progress = |documents| {
            if told.elapsed().as_secs() >= 10 {
                told = Instant::now();
                eprintln!("{documents} documents are put back");
            }
        };
        put_back(backup, &identity, Target { data: &data, storage }, now, &mut progress)
    });
    let restored = restored.await.context("the restore panicked")?;
    let restored = restored.with_context(|| format!("nothing of {} was put back", from.shown))?;
    let (of, data, seconds) = (restored.head, config.data.display(), begun.elapsed().as_secs_f64());
    let (documents, expired) = (restored.documents, restored.expired);
    let made = Moment(Wall(of.begun_ms));
    if args.json {
        let summary = json!({"data": config.data, "documents": documents, "expired": expired, "seconds": seconds,
            "region": of.region, "node": of.node, "replica": of.replica, "begun": made.to_string()});
        say!("{summary}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{data}: {documents} documents of {} as of {made} ({expired} had expired, {seconds:.1} s)", of.node);
    if of.node != config.name.as_str() {
        say!("The backup is that of another node, so {} begins as a copy of it.", config.name);
    }
    say!("Start the node. It goes on under a new id, and fetches from the other regions what came after the backup.");
    Ok(ExitCode::SUCCESS)
}
