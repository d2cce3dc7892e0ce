//! `meridian certs`: a private certificate authority, certificates for nodes, and the list of those that are revoked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use replication::NodeName;
use serde_json::json;
use service::authority::{CertificateAuthority, Certified, Issued};

use crate::args::Usage;
use crate::support::shell;
use crate::support::table::table;

/// Options of `meridian certs init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder for ca.pem, ca.key, crl.pem and, for each node, NAME.pem and NAME.key
    #[arg(long, default_value = "certs", value_parser = crate::args::path())]
    dir: PathBuf,
    /// A node to certify: the name in its configuration; repeat it for more
    #[arg(long = "node", value_name = "NAME")]
    nodes: Vec<NodeName>,
    /// Replace the authority: every certificate it issued is refused from then on
    #[arg(long)]
    force: bool,
    /// Replace the nodes' certificates even if they are still good
    #[arg(long)]
    renew: bool,
}

/// Options of `meridian certs revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The nodes whose certificates are revoked
    #[arg(value_name = "NAME", required = true)]
    nodes: Vec<NodeName>,
    /// Folder of the authority
    #[arg(long, default_value = "certs", value_parser = crate::args::path())]
    dir: PathBuf,
    /// Revoke the certificate in this file and not the one in the folder, such as a stolen one that was renewed since
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    certificate: Option<PathBuf>,
}

/// Options of `meridian certs list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Folder of the authority
    #[arg(long, default_value = "certs", value_parser = crate::args::path())]
    dir: PathBuf,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Makes the files that are missing and keeps those that exist.
pub(crate) fn init(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let authority = if args.force {
        CertificateAuthority::create(&args.dir, true)?
    } else {
        CertificateAuthority::load_or_create(&args.dir)?
    };
    say!("authority        {}", args.dir.join("ca.pem").display());
    for name in &args.nodes {
        let outcome = match authority.issue(name, args.renew)? {
            Issued::Written => "written",
            Issued::Kept => "kept, still good",
        };
        say!("{outcome:<16} {}", args.dir.join(format!("{name}.pem")).display());
    }
    say!("\nGive each node ca.pem, crl.pem and its own two files. Keep ca.key here, away from the nodes.");
    Ok(ExitCode::SUCCESS)
}

/// Adds certificates to the list of those that nodes refuse.
pub(crate) fn revoke(args: &RevokeArgs) -> anyhow::Result<ExitCode> {
    let file = args.certificate.as_deref();
    if file.is_some() && args.nodes.len() > 1 {
        return Err(Usage::error("--certificate is the certificate of one node: name that node alone".to_owned()));
    }
    let authority = CertificateAuthority::load(&args.dir)?;
    for name in &args.nodes {
        let revoked = authority.revoke(name, file)?;
        let outcome = if revoked.is_new { "revoked" } else { "revoked already" };
        say!("{outcome:<16} {}", revoked.copy.display());
    }
    let dir = shell::word(&args.dir);
    let nodes = args.nodes.iter().map(|name| format!(" --node {name}")).collect::<String>();
    say!("list             {}", authority.list().display());
    say!(
        "\nNext:\n\
         1. A node that stays in the deployment needs a new certificate: meridian certs init --dir {dir}{nodes}\n   \
            Copy its NAME.pem and NAME.key to it.\n\
         2. Copy crl.pem to every node, to the file that `tls.revoked` names. A node reads it within seconds: links of a\n   \
            revoked certificate end, and it opens no new ones. A node without `tls.revoked` needs the key and a restart."
    );
    Ok(ExitCode::SUCCESS)
}

/// Shows the certificates in the folder.
pub(crate) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let nodes = CertificateAuthority::load(&args.dir)?.nodes()?;
    let until = |node: &Certified| node.good_until.and_then(|until| Timestamp::try_from(until).ok());
    if args.json {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| json!({"name": node.name, "good_until": until(node), "revoked": node.is_revoked}))
            .collect();
        say!("{}", serde_json::to_string(&nodes)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(&["node", "certificate"]);
    for node in &nodes {
        let state = match until(node) {
            Some(until) => format!("good until {}", until.strftime("%Y-%m-%d")),
            None if node.is_revoked => "revoked".to_owned(),
            None => "not good: ended, without its key, or of another authority".to_owned(),
        };
        rows.add_row([node.name.to_string(), state]);
    }
    say!("{rows}");
    Ok(ExitCode::SUCCESS)
}
