//! `meridian operator add`: makes a token for an operator, and `meridian audit`: shows what operators ordered.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hyper::Method;

use crate::args::Usage;
use crate::support::options::Nodes;
use crate::support::table::table;
use api::client::Call;
use api::operators::{AuditTrail, Role};
use service::operators::{OperatorEntry, OperatorsFile, new_token};

/// Options of `meridian operator add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The operator's name, as the audit trail shows it
    name: String,
    /// view (status, metrics, audit) or operate (orders as well)
    #[arg(long, value_parser = role, default_value = "operate")]
    role: Role,
    /// The file that nodes and routers read (`admin.operators`); it is made if there is none
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    file: PathBuf,
}

/// Options of `meridian audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    nodes: Nodes,
    /// The month, such as 2026-11 [default: the present one, in UTC]
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

fn role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected view or operate".to_owned())
}

/// Adds an operator to a file and prints the token, which is shown once.
pub(crate) fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let path = &args.file;
    let mut file = if path.exists() { OperatorsFile::load(path)? } else { OperatorsFile::default() };
    if file.operators.iter().any(|one| one.name == args.name) {
        return Err(Usage::error(format!("{} has an operator of this name already", path.display())));
    }
    let (token, token_sha256) = new_token();
    file.operators.push(OperatorEntry { name: args.name.clone(), role: args.role, token_sha256 });
    file.save(path).map_err(|error| Usage::error(format!("{:#}", anyhow::Error::from(error))))?;
    say!("{token}");
    eprintln!("This token of {} is shown once. Commands read it from MERIDIAN_TOKEN.", args.name);
    Ok(ExitCode::SUCCESS)
}

/// Shows a month of the audit trail, as one node knows it.
pub(crate) async fn audit(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let path = match &args.month {
        Some(month) if month.bytes().all(|c| c.is_ascii_digit() || c == b'-') => {
            format!("/v1/admin/audit?month={month}")
        }
        Some(_) => return Err(Usage::error("--month is YYYY-MM, such as 2026-11")),
        None => "/v1/admin/audit".to_owned(),
    };
    let answer = args.nodes.ask(&Call::new(Method::GET, path)).await?;
    let trail: AuditTrail = answer.json()?;
    if args.json {
        say!("{}", serde_json::to_string(&trail)?);
        return Ok(ExitCode::SUCCESS);
    }
    if trail.entries.is_empty() {
        say!("No order was given in {}.", trail.month);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(&["when", "who", "from", "what", "why"]);
    for entry in trail.entries {
        rows.add_row([entry.at.to_string(), entry.who, entry.from, entry.what, entry.why]);
    }
    say!("{rows}");
    Ok(ExitCode::SUCCESS)
}
