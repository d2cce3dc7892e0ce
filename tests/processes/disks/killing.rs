//! kill -9 before each call by which a node changes its files, with a write half done.
//!
//! `MERIDIAN_STEPS` in the environment says how many of the calls of a phase are tried (`.ci/nightly cuts`: 40).

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use node::config::Engine;
use rand::RngExt as _;

use crate::common::guest::List;
use crate::common::{Call, Deployment, Node, Venue, Visit, holds, shim, within};

const SOON: Duration = Duration::from_secs(60);
/// Expired visits of the venue are a whole day old by then.
const AHEAD_S: u64 = 30 * 86_400;
const VICTIM: usize = 1;

fn steps() -> usize {
    std::env::var("MERIDIAN_STEPS").map_or(2, |steps| steps.parse().expect("MERIDIAN_STEPS is a number"))
}

/// Kills before calls that are chosen among the first `calls`, until enough of them were reached. `kill` says whether this
/// one was. Another run may need fewer calls, so a number that is not reached bounds the choice from then on.
pub(super) fn at_some(calls: u64, mut kill: impl FnMut(u64) -> bool) {
    let (mut last, mut killed) = (calls, 0);
    while killed < steps() {
        assert!(last > 0, "not even the first call is reached");
        let number = rand::rng().random_range(1..=last);
        if kill(number) {
            killed += 1;
        } else {
            last = number - 1;
        }
    }
}

/// The calls of a process that runs with the shim.
pub(super) struct Calls(File);

impl Calls {
    fn new(folder: &Path) -> Calls {
        let file =
            File::options().create(true).truncate(true).read(true).write(true).open(folder.join("calls")).unwrap();
        file.set_len(16).unwrap();
        Calls(file)
    }

    pub(super) fn count(&self) -> u64 {
        self.read(0)
    }

    fn read(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// The process ends before its call of this number, counted from now. `None` ends that.
    pub(super) fn kill_at(&self, number: Option<u64>) {
        let at = number.map_or(0, |number| self.count() + number);
        self.0.write_all_at(&at.to_ne_bytes(), 8).unwrap();
    }

    /// Ends [`kill_at`](Self::kill_at). Returns whether the process has come to that call, and so ends.
    fn disarm(&self) -> bool {
        let at = self.read(8);
        self.kill_at(None);
        self.count() >= at
    }
}

/// Whether a process ended by the signal with which the shim kills it, and not by itself.
pub(super) fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

/// Two nodes; the second is the victim.
pub(super) struct Killed {
    pub(super) deployment: Deployment,
    pub(super) calls: Calls,
    venue: Venue,
    erased: Visit,
    whole: List,
}

impl Killed {
    pub(super) fn new(engine: Engine) -> Killed {
        let mut deployment = Deployment::on(engine, 2);
        let folder = deployment.scratch().to_owned();
        let calls = Calls::new(&folder);
        let library = shim(&folder);
        for node in &mut deployment.nodes {
            node.environment = vec![("LD_PRELOAD", library.clone())];
        }
        let victim = &mut deployment.nodes[VICTIM];
        let below = victim.store();
        victim.environment.extend([("MERIDIAN_SHIM", folder), ("MERIDIAN_SHIM_BELOW", below)]);
        let here = deployment.nodes[0].public;
        let venue = Venue::make(here, "2d");
        deployment.wait_known(&venue);
        let erased = venue.visit("Ane", "030 1");
        erased.check_in(here);
        for number in 0..20 {
            venue.visit(&format!("Guest {number}"), "030 2").check_in(deployment.nodes[number % 2].public);
        }
        deployment.wait_complete(&venue);
        erased.erase().to(here).expect(204);
        let whole = venue.list(here);
        assert_eq!(whole.len(), 20);
        Killed { deployment, calls, venue, erased, whole }
    }

    pub(super) fn victim(&mut self) -> &mut Node {
        &mut self.deployment.nodes[VICTIM]
    }

    /// Does one phase of the victim without harm to count its calls, then with a kill before some of them. `prepare` leaves
    /// the victim down; `is_done` says when the phase is over.
    fn phase(&mut self, what: &str, prepare: impl Fn(&mut Killed), is_done: impl Fn(&Killed) -> Result<(), String>) {
        prepare(self);
        self.calls.kill_at(None);
        let before = self.calls.count();
        self.victim().restart();
        within(what, SOON, || is_done(self));
        let calls = self.calls.count() - before;
        assert!(calls > 0, "{what}: the phase changes nothing");
        at_some(calls, |number| {
            let what = format!("{what}, killed before call {number} of {calls}");
            prepare(self);
            self.calls.kill_at(Some(number));
            self.victim().restart();
            let mut is_killed = false;
            within(&what, SOON, || {
                is_killed = self.is_killed();
                if is_killed { Ok(()) } else { is_done(self) }
            });
            let is_reached = self.calls.disarm();
            if !is_killed && is_reached {
                // The phase was over just before the kill.
                holds(&what, SOON, || self.is_killed());
            }
            if is_reached {
                self.victim().restart();
                within(&what, SOON, || is_done(self));
            }
            is_reached
        });
    }

    pub(super) fn down(&mut self) {
        if !self.victim().is_down() {
            self.victim().stop();
        }
    }

    /// Whether the shim has killed the victim, which can be started again then.
    fn is_killed(&mut self) -> bool {
        let Some(status) = self.victim().end() else { return false };
        assert!(is_kill(status), "the victim ended by itself, {status}: {}", self.victim().log());
        true
    }

    /// Whether the victim shows all visits, and none that is erased.
    pub(super) fn shows_all(&self) -> Result<(), String> {
        let at = self.deployment.nodes[VICTIM].public;
        let ready = Call::new("GET", "/readyz").send(at).map_err(|error| error.to_string())?;
        if ready.status != 200 {
            return Err(ready.text().to_owned());
        }
        let list = self.venue.list_if_up(at)?;
        if list != self.whole {
            return Err(format!("{} visits", list.len()));
        }
        let gone = self.erased.get().send(at).map_err(|error| error.to_string())?;
        if gone.status == 410 { Ok(()) } else { Err(format!("the erased visit: {}", gone.status)) }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--"]).args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn survives_kills(engine: Engine) {
    let mut killed = Killed::new(engine);
    killed.phase("a start with a store", Killed::down, Killed::shows_all);
    let without_store = |killed: &mut Killed| {
        killed.down();
        fs::remove_dir_all(killed.victim().store()).unwrap();
    };
    killed.phase("the start of a new node", without_store, Killed::shows_all);

    // A month later.
    killed.down();
    let store = killed.victim().store();
    let kept = store.with_extension("kept");
    copy(&store, &kept);
    killed.deployment.nodes[0].stop();
    for node in &mut killed.deployment.nodes {
        node.environment.push(("MERIDIAN_SHIM_CLOCK", PathBuf::from(AHEAD_S.to_string())));
    }
    // Its clock is in doubt until the victim says the same.
    killed.deployment.nodes[0].restart();
    let full = |killed: &mut Killed| {
        killed.down();
        let store = killed.victim().store();
        fs::remove_dir_all(&store).unwrap();
        copy(&kept, &store);
    };
    let is_dropped = |killed: &Killed| {
        let node = &killed.deployment.nodes[VICTIM];
        let status = Call::new("GET", "/v1/admin/status").send(node.admin).map_err(|error| error.to_string())?;
        let status = status.json();
        if status["ready"] != true || status["buckets"].as_u64().is_none_or(|buckets| buckets > 1) {
            return Err(status.to_string());
        }
        let list = killed.venue.list_if_up(node.public)?;
        if list.is_empty() { Ok(()) } else { Err(format!("{} visits are left", list.len())) }
    };
    killed.phase("the end of days", full, is_dropped);
}

#[test]
fn a_node_on_sled_survives_kills_at_each_step() {
    survives_kills(Engine::Sled);
}

#[test]
fn a_node_on_fjall_survives_kills_at_each_step() {
    survives_kills(Engine::Fjall);
}

/// What was acknowledged before a kill under load is there after it.
#[test]
fn a_kill_under_load_loses_nothing_that_was_acknowledged() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let mut killed = Killed::new(engine);
        killed.down();
        killed.victim().start_again();
        for _ in 0..steps() {
            let at = killed.victim().public;
            let mut acknowledged: Vec<(Visit, &str)> = Vec::new();
            killed.calls.kill_at(Some(rand::rng().random_range(20..400)));
            holds("the node is killed", SOON, || {
                let visit = killed.venue.visit("Zoë", "030 3");
                if visit.put().send(at).is_ok_and(|answer| answer.status == 201) {
                    let is_corrected = visit.correct("030 4").send(at).is_ok_and(|answer| answer.status == 200);
                    // Without an answer to the correction either number may be there.
                    acknowledged.push((visit, if is_corrected { "030 4" } else { "030 " }));
                }
                killed.is_killed()
            });
            killed.calls.kill_at(None);
            killed.victim().start_again();
            let list = killed.venue.list(at);
            for (visit, phone) in &acknowledged {
                let shown = list.get(&visit.id).and_then(|row| row["persons"][0]["phone"].as_str()).unwrap_or_default();
                assert!(shown.starts_with(phone), "{engine}: acknowledged {phone}, found {shown:?}");
            }
        }
    }
}
