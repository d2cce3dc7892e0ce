//! `meridian backup`: takes a backup of a running node, and makes the key that opens it.
//!
//! The node encrypts. This command only carries the bytes, so it may run on any machine that reaches the admin listener.

mod progress;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ::node::backup_key::{Identity, Recipient};
use anyhow::Context as _;
use api::client::{Base, Call, CallFailure, Connection};
use api::status::NodeStatus;
use clap::{Args, Subcommand};
use http_body_util::{BodyExt as _, Limited};
use hyper::{Method, Response, body::Incoming};
use jiff::Timestamp;
use object_store::{ObjectStoreExt as _, WriteMultipart};
use serde_json::json;

use crate::args::Usage;
use crate::support::objects::{Object, cause};
use crate::support::options::OneNode;
pub(crate) use progress::Progress;

/// How long the node may send nothing.
const SILENCE: Duration = Duration::from_mins(2);
/// Parts of an upload that may be on their way.
const PARTS: usize = 4;
/// Bytes of a part. An object of S3 has 10,000 parts at most, so a backup has up to 78 GiB.
const PART: usize = 8 << 20;
/// The largest refusal that is read.
const REFUSAL: usize = 64 << 10;

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
    let (mut connection, answer) = order(&base, &recipients).await?;
    let progress = Progress::new(format!("backup of {} ({} documents)", status.name, status.live_documents));
    let bytes = store(&mut connection, answer, &to, &progress).await;
    progress.end();
    let bytes = bytes.with_context(|| format!("there is no backup in {}", to.shown))?;
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

/// Asks a node for a backup.
async fn order(base: &Base, recipients: &[String]) -> anyhow::Result<(Connection, Response<Incoming>)> {
    let call = Call::new(Method::POST, "/v1/admin/backup").json(&json!({"recipients": recipients}))?;
    let request = call.request(base)?;
    let mut connection = Connection::open(base).await.map_err(CallFailure::Connect).context(base.to_string())?;
    let answer =
        tokio::time::timeout(SILENCE, connection.send(request)).await.context("the node does not answer")??;
    if answer.status().is_success() {
        return Ok((connection, answer));
    }
    let status = answer.status();
    let body = connection.drive(Limited::new(answer.into_body(), REFUSAL).collect()).await;
    let problem =
        body.ok().and_then(|body| serde_json::from_slice::<api::problem::ProblemDetails>(&body.to_bytes()).ok());
    match problem {
        Some(problem) if status.as_u16() == 422 => Err(Usage::error(problem.to_string())),
        Some(problem) => Err(anyhow::anyhow!("{problem}")),
        None => Err(anyhow::anyhow!("the node answered {status}")),
    }
}

/// Carries the bytes of a backup to where it is kept. Returns how many there were.
async fn store(
    connection: &mut Connection,
    answer: Response<Incoming>,
    to: &Object,
    progress: &Progress,
) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write {}", to.shown);
    let upload = to.store.put_multipart(&to.path).await.map_err(cause).with_context(cannot)?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
    let carried = carry(connection, answer.into_body(), &mut upload, progress).await;
    match carried {
        Ok(bytes) => {
            upload.finish().await.map_err(cause).with_context(cannot)?;
            Ok(bytes)
        }
        Err(error) => {
            if let Err(left) = upload.abort().await {
                eprintln!("what was written so far may be left beside {}: {left}", to.shown);
            }
            Err(error)
        }
    }
}

async fn carry(
    connection: &mut Connection,
    mut body: Incoming,
    upload: &mut WriteMultipart,
    progress: &Progress,
) -> anyhow::Result<u64> {
    let mut bytes = 0;
    loop {
        let frame = tokio::time::timeout(SILENCE, connection.drive(body.frame())).await;
        let Some(frame) = frame.context("the node sent nothing for two minutes")? else { return Ok(bytes) };
        let frame = frame.context("the node broke the backup off: its log says why")?;
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len() as u64;
        progress.at(bytes);
        connection.drive(upload.wait_for_capacity(PARTS)).await.map_err(cause)?;
        upload.put(data);
    }
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
