//! The processes of a deployment, nodes and routers: started, watched, stopped.
//!
//! # Invariants
//! - Each child has one task that owns it, so a signal never goes to a process id that was reused.
//! - A child's standard input stays open as long as its task. If this process ends in any way, it closes, and the child
//!   stops by itself.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::layout::{self, Layout, Process};
use crate::support::deployment;
use crate::support::poll;
use api::client::{Base, Call};
use api::status::Readiness;

/// How long a node may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How often `up` looks whether a dead node was started again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often `up` looks whether a drill lets a process return.
const RETURN_EVERY: Duration = Duration::from_millis(100);
/// How often `up` looks whether a router that has ended well was replaced, and how many times.
const SUCCESSOR_EVERY: Duration = Duration::from_millis(50);
const SUCCESSOR_LOOKS: u32 = 20;
/// Number of unanswered looks after which a node that was started by hand counts as gone.
const LOOKS: u32 = 3;

/// An event that the user should see.
#[derive(Debug)]
pub(super) enum ChildEvent {
    /// A child ended by itself or was killed; a drill may have said when it returns.
    Died { process: Process, how: String, returns: Option<Timestamp> },
    /// A router was replaced by another process.
    Replaced { process: Process, by: Pid },
    /// A child was started again, as a drill had said.
    Returned { process: Process },
    /// A node that was added to the deployment is started.
    Added { process: Process },
    /// A child cannot be started again, although a drill had said so.
    Stuck { process: Process, error: String },
    /// A dead node answers again.
    Back { process: Process, pid: Option<Pid> },
    /// A node that was removed from the deployment has ended.
    Removed { process: Process, how: &'static str },
    /// A node that was started by hand does not answer any more.
    GoneAgain { process: Process },
}

/// The order to all children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    Stop,
    Kill,
}

pub(super) struct Children {
    tasks: JoinSet<bool>,
    events: mpsc::UnboundedReceiver<ChildEvent>,
    sender: mpsc::UnboundedSender<ChildEvent>,
    /// The folders of all processes that were ever started.
    known: BTreeSet<PathBuf>,
    order: watch::Sender<Order>,
}

impl Children {
    /// Starts every process.
    pub(super) fn start(layout: &Layout) -> anyhow::Result<Self> {
        let (order, orders) = watch::channel(Order::Run);
        let (sender, events) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for process in layout.processes() {
            let child = spawn(process).with_context(|| format!("cannot start {}", process.name))?;
            let watched = Watched { process: process.clone(), events: sender.clone(), orders: orders.clone() };
            tasks.spawn(watched.watch(child));
        }
        let known = layout.processes().map(|process| process.folder.clone()).collect();
        Ok(Self { tasks, events, sender, order, known })
    }

    /// Starts the nodes that were added to the deployment since: folders with a configuration and the file that says
    /// when to start (`grow.rs`).
    pub(super) fn start_added(&mut self, data: &Path) {
        // A process that was started before has its own task, which heeds the file.
        for process in layout::added(data) {
            if self.known.contains(&process.folder) {
                continue;
            }
            let event = match spawn(&process) {
                Ok(child) => {
                    self.known.insert(process.folder.clone());
                    let (events, orders) = (self.sender.clone(), self.order.subscribe());
                    self.tasks.spawn(Watched { process: process.clone(), events, orders }.watch(child));
                    ChildEvent::Added { process: process.clone() }
                }
                Err(error) => ChildEvent::Stuck { process: process.clone(), error: format!("{error:#}") },
            };
            // Without the file the process stays down after its next death, as any other does.
            let _ = std::fs::remove_file(process.return_file());
            let _ = self.sender.send(event);
        }
    }

    /// Waits until every process is ready; fails as soon as one dies, or if it takes too long.
    pub(super) async fn all_ready(&mut self, layout: &Layout, limit: Duration) -> anyhow::Result<()> {
        let events = &mut self.events;
        let ready = async {
            for process in layout.processes() {
                poll::until(limit, async || ready(process).await).await.with_context(|| {
                    format!(
                        "{} is not ready after {} s; its log: {}",
                        process.name,
                        limit.as_secs(),
                        process.log().display()
                    )
                })?;
            }
            Ok(())
        };
        tokio::select! {
            ready = ready => ready,
            event = events.recv() => match event {
                Some(ChildEvent::Died { process, how, .. }) => {
                    anyhow::bail!("{} died at its start: {how}\n{}", process.name, log_end(&process))
                }
                _ => anyhow::bail!("all processes have ended; see their logs"),
            },
        }
    }

    /// The next event for the user.
    pub(super) async fn next(&mut self) -> ChildEvent {
        match self.events.recv().await {
            Some(event) => {
                if let ChildEvent::Removed { process, .. } = &event {
                    // It may be added again.
                    self.known.remove(&process.folder);
                }
                event
            }
            None => std::future::pending().await,
        }
    }

    /// Stops all children: SIGTERM first, then SIGKILL for those that do not stop in time or once `impatient` resolves.
    /// Returns whether all stopped normally.
    pub(super) async fn stop(mut self, impatient: impl Future<Output = ()>) -> bool {
        // An error means that all tasks have ended.
        let _ = self.order.send(Order::Stop);
        let mut impatient = std::pin::pin!(impatient);
        let mut clean = true;
        let mut asked = false;
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    Some(ended) => clean &= ended.unwrap_or(false),
                    None => return clean,
                },
                () = &mut impatient, if !asked => {
                    asked = true;
                    let _ = self.order.send(Order::Kill);
                }
            }
        }
    }
}

fn spawn(process: &Process) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(process.log())?;
    let child = Command::new(std::env::current_exe()?)
        .args([process.role, "--exit-with-parent", "--config"])
        .arg(process.config())
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Its own process group, so that Ctrl-C in a terminal reaches only `up`, which then stops the nodes in order.
        .process_group(0)
        .spawn()?;
    Ok(child)
}

async fn ready(process: &Process) -> anyhow::Result<()> {
    let reply = Call::get("/readyz").send(&Base::from(process.probed)).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let reasons = reply.json_of_any_status::<Readiness>().map_or(Vec::new(), |readiness| readiness.reasons);
    anyhow::bail!("not ready: {}", serde_json::to_string(&reasons)?)
}

/// The last lines of a process's log.
fn log_end(process: &Process) -> String {
    let log = std::fs::read(process.log()).unwrap_or_default();
    let text = String::from_utf8_lossy(&log[log.len().saturating_sub(4_096)..]).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().map(|line| format!("  {line}\n")).collect()
}

/// Why a task no longer waits for its child.
enum End {
    /// It has ended by itself; how, and whether that was well.
    Died { how: String, well: bool },
    /// Everything stops.
    Ordered,
    /// It was removed from the deployment.
    Removed,
}

/// One child's task.
struct Watched {
    process: Process,
    events: mpsc::UnboundedSender<ChildEvent>,
    orders: watch::Receiver<Order>,
}

impl Watched {
    /// Watches the child, and after its end whether it is started again; ends on order. Returns whether it stopped
    /// normally.
    async fn watch(mut self, mut child: Child) -> bool {
        let mut orders = self.orders.clone();
        loop {
            // Kept here, because waiting for a child closes the pipe that the child still needs.
            let _stdin = child.stdin.take();
            let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
            let ended = tokio::select! {
                status = child.wait() => match status {
                    Ok(status) => End::Died { how: describe(status), well: status.success() },
                    Err(error) => End::Died { how: error.to_string(), well: false },
                },
                _ = orders.wait_for(|order| *order != Order::Run) => End::Ordered,
                () = self.removed() => End::Removed,
            };
            let (how, well) = match ended {
                End::Died { how, well } => (how, well),
                End::Ordered => return self.stop(child).await,
                End::Removed => {
                    let how = if self.stop(child).await { "stopped" } else { "killed, because it did not stop" };
                    self.tell(ChildEvent::Removed { process: self.process.clone(), how });
                    return true;
                }
            };
            self.forget_other(id);
            let may_be_replaced = well && self.process.role == "router";
            let by = if may_be_replaced { self.successor(id).await } else { None };
            let process = self.process.clone();
            self.tell(match by {
                Some(by) => ChildEvent::Replaced { process, by },
                None => ChildEvent::Died { process, how, returns: self.returns().map(|(at, _)| at) },
            });
            tokio::select! {
                again = self.again(id) => child = again,
                () = self.look(by.is_some()) => return true,
                _ = orders.wait_for(|order| *order != Order::Run) => return true,
            }
        }
    }

    /// Resolves once the node was removed from the deployment: its configuration is gone.
    async fn removed(&self) {
        while self.process.config().is_file() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// When the process returns, if a drill said so, and the id of the process that the drill ends.
    fn returns(&self) -> Option<(Timestamp, Option<Pid>)> {
        let text = std::fs::read_to_string(self.process.return_file()).ok()?;
        let mut words = text.split_whitespace();
        let at = words.next()?.parse().ok()?;
        Some((at, words.next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw)))
    }

    /// Removes an order to return that names a process other than the one that has just died: a drill wrote it too late.
    fn forget_other(&self, dead: Option<Pid>) {
        if self.returns().is_some_and(|(_, ended)| ended.is_some() && ended != dead) {
            // If it stays, the process is started again although no drill has ended it, which `Returned` tells.
            let _ = std::fs::remove_file(self.process.return_file());
        }
    }

    /// Starts the process again at the time that a drill has written down. The drill may have ended or been killed
    /// meanwhile: the time is the expiry of its fault.
    async fn again(&self, dead: Option<Pid>) -> Child {
        let mut looks = tokio::time::interval(RETURN_EVERY);
        let mut told = None;
        loop {
            looks.tick().await;
            let Some((at, ended)) = self.returns() else { continue };
            // The id of a process that has ended may belong to another one by now, but not to the dead child's file.
            let running = deployment::running(&self.process.pid_file()).filter(|pid| Some(*pid) != dead);
            if at > Timestamp::now() || running.is_some() && running == ended {
                continue;
            }
            let done = if running.is_some() {
                // A person has started it by hand.
                std::fs::remove_file(self.process.return_file()).map(|()| None).map_err(anyhow::Error::from)
            } else {
                spawn(&self.process).map(Some)
            };
            match done {
                Ok(None) => {}
                Ok(Some(child)) => {
                    // Without the file the process stays down after its next death, as any other does. One that cannot be
                    // removed names the dead process, and the next death removes it.
                    let _ = std::fs::remove_file(self.process.return_file());
                    self.tell(ChildEvent::Returned { process: self.process.clone() });
                    return child;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    if told.as_ref() != Some(&error) {
                        self.tell(ChildEvent::Stuck { process: self.process.clone(), error: error.clone() });
                        told = Some(error);
                    }
                }
            }
        }
    }

    async fn stop(&mut self, mut child: Child) -> bool {
        // The id belongs to this child until the child was waited for.
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok())
            && *self.orders.borrow() != Order::Kill
        {
            // If the child has ended by now, the wait below notices it.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        tokio::select! {
            status = child.wait() => return status.is_ok_and(|status| status.success()),
            () = tokio::time::sleep(STOP_LIMIT) => {}
            _ = self.orders.wait_for(|order| *order == Order::Kill) => {}
        }
        let _ = child.kill().await;
        false
    }

    /// The process that has replaced a router which ended well. It writes its id once it serves, and the old one may end a
    /// moment earlier.
    async fn successor(&self, dead: Option<Pid>) -> Option<Pid> {
        let mut looks = tokio::time::interval(SUCCESSOR_EVERY);
        for _ in 0..SUCCESSOR_LOOKS {
            looks.tick().await;
            let running = deployment::running(&self.process.pid_file()).filter(|pid| Some(*pid) != dead);
            if running.is_some() {
                return running;
            }
        }
        None
    }

    /// Looks repeatedly whether the node was started by hand; `back` if it is there already.
    async fn look(&self, mut back: bool) {
        let mut silent = 0;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let answers = Call::get("/readyz").send(&Base::from(self.process.probed)).await;
            let ready = answers.is_ok_and(|reply| reply.status.is_success());
            silent = if ready { 0 } else { silent + 1 };
            if ready && !back {
                back = true;
                self.tell(ChildEvent::Back {
                    process: self.process.clone(),
                    pid: deployment::running(&self.process.pid_file()),
                });
            } else if back && silent >= LOOKS && deployment::running(&self.process.pid_file()).is_none() {
                back = false;
                self.tell(ChildEvent::GoneAgain { process: self.process.clone() });
            }
        }
    }

    fn tell(&self, event: ChildEvent) {
        // An error means that everything is stopping.
        let _ = self.events.send(event);
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("killed by {name}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}
