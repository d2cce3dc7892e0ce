//! `meridian certs init`: a private certificate authority and certificates for nodes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use replication::NodeName;
use service::authority::{CertificateAuthority, Issued};

/// Options of `meridian certs init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder for ca.pem, ca.key and, for each node, NAME.pem and NAME.key
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
    say!("\nGive each node ca.pem and its own two files. Keep ca.key here, away from the nodes.");
    Ok(ExitCode::SUCCESS)
}
