//! `meridian dnssec`: makes the keys of a signed zone, and shows the records by which the zone above refers to them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use geo_router::config::RouterConfig;
use geo_router::dns::create_key;
use serde_json::json;

use crate::args::Usage;
use crate::support::shell;

/// Options of `meridian dnssec key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The new file; one that exists is kept, and the command fails
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    file: PathBuf,
}

/// Options of `meridian dnssec ds`.
#[derive(Debug, Args)]
pub(crate) struct DsArgs {
    /// The configuration of a router, whose `dns.dnssec_keys` are shown
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    config: PathBuf,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Makes a key in a file that only its user can read.
pub(crate) fn key(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    create_key(&args.file)?;
    say!("written          {}", args.file.display());
    say!(
        "\nNext:\n\
         1. Copy it to every router, with mode 600, and add it to `dns.dnssec_keys` there: alone if the zone is not signed yet,\n   \
            behind the present key if it is to replace that one. Then: meridian router --replace --config FILE\n\
         2. Show its DS record for the zone above: meridian dnssec ds --config FILE\n\
         docs/dnssec.md has all steps."
    );
    Ok(ExitCode::SUCCESS)
}

/// Shows the DS and DNSKEY records of the keys in a configuration.
pub(crate) fn ds(args: &DsArgs) -> anyhow::Result<ExitCode> {
    let config = RouterConfig::load(&args.config)?;
    let keys = config.dns.as_ref().map(|dns| dns.keys()).transpose()?.unwrap_or_default();
    if keys.is_empty() {
        let file = shell::word(&args.config);
        return Err(Usage::error(format!("{file}: the zone is not signed, because `dns.dnssec_keys` names no key")));
    }
    if args.json {
        let keys: Vec<_> = keys
            .iter()
            .map(
                |key| json!({"file": key.file, "tag": key.tag, "signs": key.signs, "ds": key.ds, "dnskey": key.dnskey}),
            )
            .collect();
        say!("{}", serde_json::to_string(&keys)?);
        return Ok(ExitCode::SUCCESS);
    }
    for key in keys {
        let role = if key.signs { "signs all records" } else { "is shown besides" };
        say!("; {} ({role}, tag {})\n{}\n{}", key.file.display(), key.tag, key.ds, key.dnskey);
    }
    Ok(ExitCode::SUCCESS)
}
