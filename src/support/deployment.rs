//! A deployment that `meridian up` made, read from disk: one folder for each node and each router.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use geo_router::config::RouterConfig;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use node::config::NodeConfig;

use crate::args::Usage;
use api::client::{Answer, Base, Call};

/// One node's folder.
#[derive(Debug)]
pub(crate) struct Deployed {
    /// Its checked configuration.
    pub(crate) config: NodeConfig,
}

/// Reads every `<folder>/node.toml` below `data`, in the order of their names.
pub(crate) fn read(data: &Path) -> anyhow::Result<Vec<Deployed>> {
    let files = files(data, "node.toml")?;
    files.into_iter().map(|file| Ok(Deployed { config: NodeConfig::load(&file)? })).collect()
}

/// The admin listeners of nodes: the given ones, otherwise those of the deployment in `data`.
pub(crate) fn node_admins(given: &[Base], data: &Path) -> anyhow::Result<Vec<Base>> {
    if !given.is_empty() {
        return Ok(given.iter().cloned().map(|base| authorised(base, Some(data))).collect());
    }
    let nodes = read(data).context(NOBODY)?;
    if nodes.is_empty() {
        return Err(nothing_in(data, "<region>/node.toml"));
    }
    Ok(nodes.into_iter().map(|node| authorised(Base::from(node.config.listen.admin.first()), Some(data))).collect())
}

/// The first answer of any node. A node that does not answer or cannot write now is skipped.
pub(crate) async fn first_answer(given: &[Base], data: &Path, call: &Call) -> anyhow::Result<Answer> {
    let mut last = anyhow::anyhow!("there is no node to ask; give --admin URL");
    for base in node_admins(given, data)? {
        match call.clone().send(&base).await {
            Ok(answer) if answer.status.is_server_error() => {
                last = answer.refused().into();
            }
            Ok(answer) => return Ok(answer),
            Err(error) => last = error.into(),
        }
    }
    Err(last.context("no node took the request (`meridian status` shows the nodes)"))
}

/// The admin listener of the first router of the deployment in `data`.
pub(crate) fn router_admin(data: &Path) -> anyhow::Result<Base> {
    let files = files(data, "router.toml").context(NOBODY)?;
    let first = files.first().ok_or_else(|| nothing_in(data, "router-1/router.toml"))?;
    Ok(authorised(Base::from(RouterConfig::load(first)?.admin.first()), Some(data)))
}

/// The checked configurations of all routers of the deployment in `data`.
pub(crate) fn routers(data: &Path) -> anyhow::Result<Vec<RouterConfig>> {
    files(data, "router.toml")?.iter().map(|file| Ok(RouterConfig::load(file)?)).collect()
}

/// The admin listeners of all routers of the deployment in `data`.
pub(crate) fn router_admins(data: &Path) -> anyhow::Result<Vec<Base>> {
    Ok(routers(data)?.into_iter().map(|router| authorised(Base::from(router.admin.first()), Some(data))).collect())
}

/// The variable with an operator's token, for a deployment that `meridian up` did not make.
const TOKEN: &str = "MERIDIAN_TOKEN";

/// The file with the token of the operator of a deployment that `meridian up` made.
pub(crate) fn token_file(data: &Path) -> PathBuf {
    data.join("operator-token")
}

/// An admin listener with the operator's token: that of the deployment in `data` if the listener is on this machine, as
/// that deployment is, otherwise that of the environment. Admin listeners speak no TLS, so their network must be trusted.
pub(crate) fn authorised(base: Base, data: Option<&Path>) -> Base {
    let is_here = base.host().parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let of_deployment = data.filter(|_| is_here).and_then(|data| std::fs::read_to_string(token_file(data)).ok());
    let token = of_deployment.or_else(|| std::env::var(TOKEN).ok());
    match token.as_deref().map(str::trim) {
        Some(token) if !token.is_empty() => base.with_token(token),
        _ => base,
    }
}

/// The context of the error if neither --admin nor a deployment names a node.
const NOBODY: &str = "no --admin is given, and there is no deployment to ask (give --admin URL, or --data DIR)";

fn nothing_in(data: &Path, file: &str) -> anyhow::Error {
    let data = data.display();
    Usage::error(format!("{data} has no {file}; give --admin URL, or --data with a folder of `meridian up`"))
}

fn files(data: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(data)
        .with_context(|| format!("cannot read {}", data.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join(name)))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// The file by which a drill tells `meridian up` when it starts a process again that the drill ends: an RFC 3339 time, a
/// space, and the id of the process that ends.
pub(crate) fn return_file(folder: &Path) -> PathBuf {
    folder.join("return-at")
}

/// Whether a `meridian up` runs in `data`: it holds a lock on the folder.
pub(crate) fn is_run_by_up(data: &Path) -> anyhow::Result<bool> {
    let folder = std::fs::File::open(data).with_context(|| format!("cannot open {}", data.display()))?;
    Ok(matches!(folder.try_lock(), Err(TryLockError::WouldBlock)))
}

impl Deployed {
    /// The id of the node's process, if it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        running(self.config.pid_file.as_deref()?)
    }
}

/// The process whose id is in a file, if it runs.
pub(crate) fn running(pid_file: &Path) -> Option<Pid> {
    let pid = Pid::from_raw(std::fs::read_to_string(pid_file).ok()?.trim().parse().ok().filter(|pid| *pid > 0)?);
    // EPERM is an answer too: the process exists and belongs to another user.
    matches!(kill(pid, None), Ok(()) | Err(nix::Error::EPERM)).then_some(pid)
}
