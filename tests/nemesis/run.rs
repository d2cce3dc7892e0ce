//! One run: nodes start, guests come while the plan is carried out, everything heals, all nodes are killed once more, and
//! the history is judged.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::{self, Node};
use crate::guests::{Venue, World, come, list, send};
use crate::history::{Act, Recorder};
use crate::http::Ask;
use crate::plan::plan;
use crate::settings::Chosen;
use crate::supervisor::Supervisor;
use crate::{checker, readers, report};

/// How long nodes may take to be ready and equal once all faults are over, on a busy machine.
const HEALED: Duration = Duration::from_secs(60);
/// Venues of a run.
const VENUES: usize = 4;

/// Makes a run and prints its report.
///
/// # Errors
/// What is wrong, with the command that repeats it. The folder of the run is kept then.
pub(crate) fn run(chosen: &Chosen) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("meridian-nemesis-").tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let outcome = runtime.block_on(Running::make(folder.path().to_owned(), *chosen));
    match outcome {
        Ok(()) => Ok(()),
        Err(why) => {
            let kept = folder.keep();
            let why = format!("{why}\nkept: {}\nagain: {}", kept.display(), chosen.again());
            println!("{why}");
            Err(why)
        }
    }
}

struct Running {
    folder: PathBuf,
    world: Arc<World>,
    supervisor: Supervisor,
}

impl Running {
    async fn make(folder: PathBuf, chosen: Chosen) -> Result<(), String> {
        let (mut nodes, forwarder) = cluster::make(&folder, chosen.engine);
        nodes.iter_mut().for_each(Node::start);
        let supervisor = Supervisor::new(nodes, forwarder);
        let regions = supervisor.nodes.iter().map(|node| (node.region, node.public)).collect();
        let recorder = Recorder::start();
        let mut world = World { recorder, regions, venues: Vec::new(), visits: parking_lot::Mutex::default() };
        ready(&supervisor.nodes).await?;
        for _ in 0..VENUES {
            let venue = venue(&world).await?;
            world.venues.push(venue);
        }
        let mut running = Running { folder, world: Arc::new(world), supervisor };
        running.complete().await?;

        let planned = plan(chosen.seed, running.supervisor.nodes.len(), chosen.lasts);
        let (over, is_over) = watch::channel(false);
        let guests = tokio::spawn(come(running.world.clone(), chosen.seed, chosen.lasts));
        let readers = tokio::spawn(readers::read(running.world.clone(), is_over));
        running.supervisor.carry_out(&planned, chosen.lasts).await;
        guests.await.unwrap();
        over.send_replace(true);
        readers.await.unwrap();

        let healing = Instant::now();
        running.settle(0).await?;
        let healed = healing.elapsed();
        // Once more from the disks alone.
        for node in &mut running.supervisor.nodes {
            node.kill();
            node.start();
        }
        running.settle(1).await?;
        running.judge(&chosen, healed)
    }

    /// Waits until all regions are ready and complete, and reads all lists.
    async fn settle(&mut self, round: u32) -> Result<(), String> {
        let begun = Instant::now();
        // A node may still end because of a disk that failed a moment ago.
        loop {
            self.supervisor.carry_out(&[], Duration::ZERO).await;
            match ready_now(&self.supervisor.nodes).await {
                Ok(()) => break,
                Err(why) if begun.elapsed() > HEALED => {
                    return Err(format!("not ready {HEALED:?} after all faults: {why}"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        self.complete().await?;
        for region in 0..self.world.regions.len() {
            for venue in &self.world.venues {
                let act = Act::FinalList { venue: venue.name, round };
                let (status, _) = send(&self.world, region, None, None, act, list(venue)).await;
                if status != Some(200) {
                    return Err(format!("a final list of {} has status {status:?}", self.world.regions[region].0));
                }
            }
        }
        let visits: Vec<_> = self.world.visits.lock().keys().copied().collect();
        if visits.is_empty() { Err("no guest came".to_owned()) } else { Ok(()) }
    }

    /// Waits until every region says that it has everything that any region had acknowledged before now.
    async fn complete(&self) -> Result<(), String> {
        let (begun, now) = (Instant::now(), Timestamp::now());
        for (region, at) in &self.world.regions {
            loop {
                let answer = list(&self.world.venues[0]).send(*at, Duration::from_secs(3)).await;
                let through = answer.map(|answer| answer.json()["completeness"].clone()).unwrap_or_default();
                let through: std::collections::BTreeMap<String, Option<Timestamp>> =
                    serde_json::from_value(through).unwrap_or_default();
                let done = through.values().filter(|through| through.is_some_and(|through| through >= now)).count();
                if done == self.world.regions.len() {
                    break;
                }
                if begun.elapsed() > HEALED {
                    return Err(format!("{region} is not complete {HEALED:?} after {now}: {through:?}"));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn judge(&self, chosen: &Chosen, healed: Duration) -> Result<(), String> {
        let world = &self.world;
        let venues = world.visits.lock().clone();
        let regions: Vec<&str> = world.regions.iter().map(|(region, _)| *region).collect();
        world.recorder.read(|ops, names| {
            let breaches = checker::check(ops, &venues);
            let mut wrong = report::breaches(&breaches, names, &regions);
            for node in &self.supervisor.nodes {
                if node.log().contains("panicked") {
                    wrong.push(format!("{} panicked; see its log", node.region));
                }
            }
            let ended = self.supervisor.wrongly_ended.iter();
            wrong.extend(ended.map(|region| format!("{region} ended by itself without a fault of its disk")));
            wrong.extend(report::idle(ops));
            println!("{}", report::summary(chosen, ops, &self.supervisor, &breaches, healed));
            if wrong.is_empty() {
                return Ok(());
            }
            let file = self.folder.join("history.jsonl");
            let written = report::write(&file, ops, names, &regions);
            let written = written.map_or_else(|error| error.to_string(), |()| file.display().to_string());
            Err(format!("{}\nhistory: {written}", wrong.join("\n")))
        })
    }
}

async fn ready(nodes: &[Node]) -> Result<(), String> {
    let begun = Instant::now();
    while let Err(why) = ready_now(nodes).await {
        if begun.elapsed() > HEALED {
            return Err(format!("not ready within {HEALED:?}: {why}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn ready_now(nodes: &[Node]) -> Result<(), String> {
    for node in nodes {
        if let Some(why) = node.unready().await {
            return Err(format!("{}: {why}", node.region));
        }
    }
    Ok(())
}

async fn venue(world: &World) -> Result<Venue, String> {
    let body = serde_json::json!({"name": "Nemesis", "timezone": "Europe/Berlin", "retention": "14d"});
    let ask = Ask::new("POST", "/v1/venues").body("application/json", body);
    let answer = ask.send(world.regions[0].1, HEALED).await.map_err(|error| format!("no venue: {error:?}"))?;
    let made = answer.json();
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let (id, key) = (text("venue_id"), text("owner_key"));
    let name = world.recorder.name(&id);
    if answer.status == 201 {
        Ok(Venue { name, path: format!("/v1/venues/{id}"), key })
    } else {
        Err(refused(&answer.status))
    }
}

fn refused(status: &impl Display) -> String {
    format!("no venue could be made: status {status}")
}
