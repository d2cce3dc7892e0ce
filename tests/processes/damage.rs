//! Files of a node's store are damaged or lost: the node finds it, and its peers fill it again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use node::config::Engine;

use crate::common::guest::List;
use crate::common::{Call, Deployment, MERIDIAN, Venue, Visit, shim, within};

/// A node is started again by its supervisor, notices more damage, and fetches everything.
const HEALED: Duration = Duration::from_secs(90);
/// A supervisor starts a node again that often.
const STARTS: usize = 4;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Flips two bits in each block of a file that holds something: in its middle and in its last byte.
fn damage(file: &Path) {
    let (bytes, opened) = (fs::read(file).unwrap(), fs::File::options().write(true).open(file).unwrap());
    for (number, block) in bytes.chunks(512).enumerate() {
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            for at in BTreeSet::from([last / 2, last]) {
                opened.write_all_at(&[block[at] ^ 0x10], u64::try_from(number * 512 + at).unwrap()).unwrap();
            }
        }
    }
}

/// Whether `meridian verify` sees a damage.
enum Offline {
    Seen,
    /// fjall takes a broken entry of its journal for the end that a crash has torn. The store is whole then, but older, and
    /// only its peers know that.
    MayBeHidden,
}

use Offline::{MayBeHidden, Seen};

/// The second half of what a file holds is gone, as after a repair of the file system. sled makes files longer than that.
fn tear(file: &Path) {
    let held = fs::read(file).unwrap().iter().rposition(|byte| *byte != 0).unwrap_or_default();
    let opened = fs::File::options().write(true).open(file).unwrap();
    opened.set_len(u64::try_from(held / 2).unwrap()).unwrap();
}

struct Damaged {
    deployment: Deployment,
    venue: Venue,
    visits: Vec<Visit>,
    whole: List,
}

impl Damaged {
    fn new(engine: Engine) -> Damaged {
        let deployment = Deployment::on(engine, 2);
        let here = deployment.nodes[0].public;
        let venue = Venue::make(here, "2d");
        deployment.wait_known(&venue);
        let visits: Vec<Visit> = (0..40).map(|n| venue.visit(&format!("Guest {n}"), "+49 711 123")).collect();
        for (number, visit) in visits.iter().enumerate() {
            visit.check_in(deployment.nodes[number % 2].public);
        }
        deployment.wait_complete(&venue);
        for visit in &visits[..5] {
            visit.erase().to(here).expect(204);
        }
        within("both show the same", HEALED, || {
            let (one, other) = (venue.list(here), venue.list(deployment.nodes[1].public));
            if one.len() == 35 && one == other { Ok(()) } else { Err((one.len(), other.len())) }
        });
        let whole = venue.list(here);
        Damaged { deployment, venue, visits, whole }
    }

    /// Stops the second node, does this to its store, and starts it as often as a supervisor would.
    fn heals(&mut self, what: &str, offline: Offline, harm: impl FnOnce(&Path)) {
        let node = &mut self.deployment.nodes[1];
        node.stop();
        assert_eq!(verify(&node.folder), Some(0), "{what}: a store that was healed is whole");
        harm(&node.store());
        match (offline, verify(&node.folder)) {
            (Offline::Seen, code) => assert_eq!(code, Some(1), "{what}: the damage is seen offline"),
            (Offline::MayBeHidden, code) => assert!(matches!(code, Some(0 | 1)), "{what}: {code:?}"),
        }
        node.restart();
        let mut starts = 1;
        within(what, HEALED, || {
            let node = &mut self.deployment.nodes[1];
            if node.end().is_some() {
                starts += 1;
                assert!(starts <= STARTS, "{what}: the node does not come back: {}", node.log());
                node.restart();
            }
            let guests = self.venue.call("GET", "/guests?limit=1000").send(node.public);
            let guests = guests.map_err(|error| error.to_string())?;
            if guests.status != 200 {
                return Err(format!("{} {}", guests.status, guests.text()));
            }
            let rows = guests.json()["visits"].as_array().map_or(0, Vec::len);
            let is_ready = Call::new("GET", "/readyz").send(node.public).is_ok_and(|a| a.status == 200);
            let is_whole = rows == 35 && is_ready && guests.json().get("unreadable").is_none();
            let status = Call::new("GET", "/v1/admin/status").send(node.admin);
            let damaged = status.map_err(|error| error.to_string())?.json()["damaged_rows"].clone();
            // Until the whole store was read, more damage may be found, and may end the node.
            let metrics = Call::new("GET", "/metrics").send(node.admin).map_err(|error| error.to_string())?;
            let is_read = metrics
                .text()
                .lines()
                .any(|line| line.strip_prefix("meridian_scrubs_total ").is_some_and(|scrubs| scrubs != "0"));
            if is_whole && is_read && damaged == 0 && self.venue.list_if_up(node.public)? == self.whole {
                return Ok(());
            }
            Err(format!("{rows} rows, ready: {is_ready}, damaged: {damaged}, read: {is_read}"))
        });
        let node = &self.deployment.nodes[1];
        for visit in &self.visits[..5] {
            visit.get().to(node.public).problem(410);
        }
        for visit in &self.visits[5..] {
            visit.get().to(node.public).expect(200);
        }
    }
}

/// The exit code of `meridian verify`.
fn verify(folder: &Path) -> Option<i32> {
    Command::new(MERIDIAN).arg("verify").arg(folder).output().unwrap().status.code()
}

fn is_below(file: &Path, part: &str) -> bool {
    file.to_str().unwrap().contains(part)
}

fn damage_all(store: &Path, of: impl Fn(&Path) -> bool) {
    each(store, of, damage);
}

/// Does this to each file of a kind.
fn each(store: &Path, of: impl Fn(&Path) -> bool, harm: impl Fn(&Path)) {
    let found: Vec<PathBuf> = files(store).into_iter().filter(|file| of(file)).collect();
    assert!(!found.is_empty(), "there is no such file");
    found.iter().for_each(|file| harm(file));
}

#[test]
fn a_store_on_sled_heals_from_damage_in_each_of_its_files() {
    let mut damaged = Damaged::new(Engine::Sled);
    damaged
        .heals("a day's pages", Seen, |store| damage_all(store, |file| is_below(file, "day-") && file.ends_with("db")));
    damaged.heals("a day's configuration", Seen, |store| {
        damage_all(store, |file| is_below(file, "day-") && file.ends_with("conf"))
    });
    damaged.heals("the pages of what lasts", Seen, |store| {
        damage_all(store, |file| is_below(file, "buckets/lasting") && file.ends_with("db"))
    });
    damaged.heals("the secrets of the hours", Seen, |store| damage_all(store, |file| is_below(file, "keys/expiries-")));
    damaged.heals("the trees", Seen, |store| damage_all(store, |file| is_below(file, "keys/arrivals-")));
    damaged.heals("torn pages", Seen, |store| each(store, |file| is_below(file, "day-") && file.ends_with("db"), tear));
    damaged.heals("torn keys", Seen, |store| each(store, |file| is_below(file, "keys/arrivals-"), tear));
    damaged.heals("a folder that is gone", Seen, |store| {
        let mut days = fs::read_dir(store.join("buckets")).unwrap().map(|entry| entry.unwrap().path());
        fs::remove_dir_all(days.find(|day| is_below(day, "/day-")).unwrap()).unwrap();
    });
}

#[test]
fn a_store_on_fjall_heals_from_damage_in_each_of_its_files() {
    let mut damaged = Damaged::new(Engine::Fjall);
    damaged.heals("the journal", MayBeHidden, |store| {
        damage_all(store, |file| file.extension().is_some_and(|e| e == "jnl"))
    });
    damaged.heals("a torn journal", MayBeHidden, |store| {
        each(store, |file| file.extension().is_some_and(|e| e == "jnl"), tear);
    });
    damaged.heals("the keyspaces", Seen, |store| damage_all(store, |file| is_below(file, "fjall/keyspaces")));
    damaged.heals("the keys", Seen, |store| {
        damage_all(store, |file| is_below(file, "keys/") && !is_below(file, "destroyed"))
    });
}

/// As fjall 3.1 does when it believes a damaged length and there is not enough memory.
#[test]
fn a_store_that_ends_each_process_which_reads_it_is_set_aside() {
    for (engine, files) in [(Engine::Sled, "buckets"), (Engine::Fjall, "fjall")] {
        let mut damaged = Damaged::new(engine);
        let folder = damaged.deployment.scratch().to_owned();
        let node = &mut damaged.deployment.nodes[1];
        let below = node.store();
        node.environment =
            vec![("LD_PRELOAD", shim(&folder)), ("MERIDIAN_SHIM", folder), ("MERIDIAN_SHIM_BELOW", below)];
        damaged.heals("a store that nobody can read", MayBeHidden, |store| {
            let all = self::files(&store.join(files));
            let folders: BTreeSet<&Path> = all.iter().filter_map(|file| file.parent()).collect();
            folders.into_iter().for_each(|folder| fs::write(folder.join("deadly"), "").unwrap());
        });
    }
}
