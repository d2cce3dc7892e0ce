//! `meridian operator add`: makes a token for an operator, and `meridian audit`: shows what operators ordered.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hyper::Method;

use crate::args::{Usage, default_data};
use crate::support::deployment;
use crate::support::table::table;
use api::client::{Base, Call};
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
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Options of `meridian audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// A node's admin address, such as http://127.0.1.1:7082; repeat it for more: the first that answers is asked
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    admin: Vec<Base>,
    /// Without --admin: the folder of a deployment that `meridian up` made
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), conflicts_with = "admin")]
    data: PathBuf,
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
    let answer = deployment::first_answer(&args.admin, &args.data, &Call::new(Method::GET, path)).await?;
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
