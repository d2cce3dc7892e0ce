//! `meridian backup`: takes a backup of a running node, and makes the key that opens it.
//!
//! The node encrypts. This command only carries the bytes, so it may run on any machine that reaches the admin listener.

mod progress;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ::node::backup_key::{Identity, Recipient};
use api::status::NodeStatus;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use crate::args::Usage;
use crate::support::backup::Taking;
use crate::support::objects::Object;
use crate::support::options::OneNode;
pub(crate) use progress::Progress;

/// Options of `meridian backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    node: OneNode,
    /// A public key that the backup is encrypted to, such as age1...; repeat it for more [default: those that the node's
    /// configuration names in backup.recipients]
    #[arg(long = "recipient", value_name = "KEY", value_parser = recipient)]
    recipients: Vec<Recipient>,
    /// Where the backup goes: a file, a folder, or s3://bucket/prefix. In a folder it is called REGION-TIME.age
    #[arg(long, value_name = "PLACE", required = true)]
    to: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    key: Option<BackupCommand>,
}

/// What belongs to backups.
#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Make a key: write the secret half to a file, and print the public half
    Key(KeyArgs),
}

/// Options of `meridian backup key`.
#[derive(Debug, Args)]
struct KeyArgs {
    /// The new file; keep it off the nodes, and keep a copy
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    out: PathBuf,
}

fn recipient(text: &str) -> Result<Recipient, String> {
    text.parse().map_err(|error| format!("`{text}` {error}"))
}

/// Takes a backup, or makes a key.
pub(crate) async fn backup(args: BackupArgs) -> anyhow::Result<ExitCode> {
    service::private::hide_new_files();
    if let Some(BackupCommand::Key(args)) = &args.key {
        return key(args);
    }
    let base = args.node.base()?;
    let status: NodeStatus = api::client::get(&base, "/v1/admin/status").await?;
    let name = format!("{}-{}.age", status.region, Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let to = Object::at(args.to.as_deref().unwrap_or_default(), Some(&name))?;
    to.check_new().await?;
    let begun = Instant::now();
    let recipients: Vec<String> = args.recipients.iter().map(ToString::to_string).collect();
    let taking = Taking::begin(&base, &recipients).await?;
    let progress = Progress::new(format!("backup of {} ({} documents)", status.name, status.live_documents));
    let bytes = taking.to(&to, &|bytes| progress.at(bytes)).await;
    progress.end();
    let bytes = bytes?;
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        let (region, node, documents) = (status.region, status.name, status.live_documents);
        let summary = json!({"to": to.shown, "bytes": bytes, "seconds": seconds, "region": region, "node": node,
            "documents": documents});
        say!("{summary}");
    } else {
        say!("{} ({} documents, {bytes} bytes, {seconds:.1} s)", to.shown, status.live_documents);
    }
    Ok(ExitCode::SUCCESS)
}

fn key(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let identity = Identity::generate();
    let shown = args.out.display();
    let mut file = std::fs::File::create_new(&args.out)
        .map_err(|error| Usage::error(format!("{shown} cannot be made: {error}; an existing key is never replaced")))?;
    file.write_all(identity.file().as_bytes())?;
    file.sync_all()?;
    say!("{}", identity.recipient());
    eprintln!(
        "{shown} opens every backup that is encrypted to this public key. Keep it off the nodes, and keep a copy: without it \
         no backup can be put back."
    );
    Ok(ExitCode::SUCCESS)
}
