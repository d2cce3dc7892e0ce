//! `meridian drill`: planned failures with guard rails, measurements and a report.
//!
//! | module | concern |
//! | --- | --- |
//! | [`plan`], [`site`] | what is done, and the deployment in which it is done |
//! | [`preflight`], [`lock`] | what must hold before; that no other drill runs |
//! | [`disturb`], [`beside`] | the fault and the way back; the files of a restore |
//! | [`clients`], [`wire`], [`dns`], [`ledger`] | synthetic clients and what they saw |
//! | [`observe`], [`guard`] | looks at nodes, routers and DNS; the bounds that end a drill |
//! | [`mod@run`] | the phases |
//! | [`mod@watch`] | a node that checks drills again and again |
//! | [`prove`], [`figures`], [`report`] | what is in the lists, what that means, and how it is told |
//!
//! # Invariants
//! - Whatever is made ends by itself, also if this command is killed.
//! - A drill disturbs nothing before every condition holds and the way back was tried.

mod beside;
mod clients;
mod disturb;
mod dns;
mod figures;
mod guard;
mod ledger;
mod lock;
mod observe;
mod plan;
mod preflight;
mod prove;
mod report;
mod run;
mod site;
mod watch;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use api::RegionId;
use clap::Args;

use self::plan::Plan;
use self::preflight::Check;
use self::report::Verdict;
use self::site::Site;
pub(crate) use self::watch::watch;
use crate::args::default_data;
use crate::support::options::Author;
use crate::support::table::table;

/// The drill and its deployment.
#[derive(Debug, Args)]
struct Asked {
    /// The drill, such as config/drills/region-loss.toml
    #[arg(value_parser = crate::args::path())]
    file: PathBuf,
    /// The folder of a deployment that `meridian up` made, unless the drill has `[site]`
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), value_parser = crate::args::path())]
    data: PathBuf,
    #[command(flatten)]
    author: Author,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `meridian drill run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    asked: Asked,
    /// Folder for report.json, report.md and index.html [default: DATA/drills/NAME-TIME]
    #[arg(long, value_name = "DIR", value_parser = crate::args::path())]
    report: Option<PathBuf>,
}

/// Options of `meridian drill check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    asked: Asked,
}

/// The exit code of a drill that was refused.
const REFUSED: u8 = 4;

/// Runs a drill: exit code 0 objectives met, 1 missed, 3 aborted, 4 refused.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let Asked { file, data, author: Author { by }, json } = args.asked;
    let plan = Plan::load(&file)?;
    let site = Site::find(&plan, &data)?;
    crate::support::process::raise_open_files();
    if plan.takes_a_backup() {
        service::private::hide_new_files();
    }
    let began = jiff::Timestamp::now();
    let folder = args
        .report
        .unwrap_or_else(|| data.join("drills").join(format!("{}-{}", plan.name, began.strftime("%Y%m%dT%H%M%SZ"))));
    // Tried first: a report that cannot be written would lose the drill.
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (report, course) = run::Drill::new(plan, site, by, json, began).run().await?;
    report::write(&folder, &report, &course)?;
    if json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        say!("\n{}", report.headline());
        if !report.objectives.is_empty() {
            let mut rows = table(&["objective", "bound", "measured", ""]);
            for one in &report.objectives {
                let with_unit = |value: f64| format!("{value:.2} {}", one.unit);
                let measured = one.measured.map_or_else(|| "never".to_owned(), with_unit);
                let met = if one.met { "met" } else { "MISSED" };
                rows.add_row([one.name.to_owned(), with_unit(one.bound), measured, met.to_owned()]);
            }
            say!("{rows}");
        }
        for error in &report.errors {
            say!("{error}");
        }
        say!("Report: {}", folder.join("index.html").display());
    }
    Ok(match report.verdict {
        Verdict::Met => ExitCode::SUCCESS,
        Verdict::Missed => ExitCode::FAILURE,
        Verdict::Aborted => ExitCode::from(3),
        Verdict::Refused => ExitCode::from(REFUSED),
    })
}

/// Says whether a drill could begin now: exit code 0, or 4.
pub(crate) async fn check(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let Asked { file, data, json, .. } = args.asked;
    let plan = Plan::load(&file)?;
    let site = Site::find(&plan, &data)?;
    let checks = preflight::judge(&plan, &site).await;
    let fit = checks.iter().all(|check| check.passed);
    if json {
        say!("{}", serde_json::to_string(&serde_json::json!({ "name": plan.name, "fit": fit, "checks": checks }))?);
    } else {
        print(&checks);
        say!("{}", if fit { "The drill could begin now." } else { "The drill would be refused." });
    }
    Ok(if fit { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// What the other regions of the deployment in `data` lack to take the present load of `region`; `None` if they have room,
/// or if their capacity is not known.
pub(crate) async fn shortage(data: &Path, region: &RegionId) -> anyhow::Result<Option<String>> {
    let plan = Plan::of_drain(region)?;
    let site = Site::find(&plan, data)?;
    Ok(preflight::shortage(&plan, &site).await)
}

fn print(checks: &[Check]) {
    let mut rows = table(&["condition", "holds", "seen"]);
    for check in checks {
        rows.add_row([check.name, if check.passed { "yes" } else { "NO" }, &check.detail]);
    }
    say!("{rows}");
}
