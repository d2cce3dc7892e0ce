//! Guests: each comes at a time that the seed decides, whatever became of the guests before it, and does some of what
//! guests do, in regions that the seed decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use registry::{Secret, VisitId};
use replication::Wall;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::history::{Act, Name, Op, Outcome, Recorder, Row};
use crate::http::{Answer, Ask, NoAnswer};

/// Guests that come in a second.
const RATE: f64 = 14.0;
/// How long a guest waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// In how many regions a guest tries to check in or to erase before giving up.
const TRIES: usize = 4;

/// A venue with the key of its owner.
#[derive(Clone, Debug)]
pub(crate) struct Venue {
    pub name: Name,
    pub path: String,
    pub key: String,
}

/// What all clients share.
pub(crate) struct World {
    pub recorder: Recorder,
    pub regions: Vec<(&'static str, SocketAddr)>,
    pub venues: Vec<Venue>,
    /// The venue of each visit.
    pub visits: parking_lot::Mutex<std::collections::BTreeMap<Name, Name>>,
}

/// Sends guests until `lasts` is over, and waits until the last one has left.
pub(crate) async fn come(world: Arc<World>, seed: u64, lasts: Duration) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6765_7374);
    let (begun, mut at, mut inside) = (Instant::now(), Duration::ZERO, JoinSet::new());
    for number in 0.. {
        // Exponential gaps: an open loop, as guests come in life.
        at += Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / RATE);
        if at >= lasts {
            break;
        }
        let own = StdRng::seed_from_u64(rng.random());
        sleep_until(begun + at).await;
        inside.spawn(Guest::new(world.clone(), own, number, begun + lasts).visit());
        while inside.try_join_next().is_some_and(|left| left.is_ok()) {}
    }
    while let Some(left) = inside.join_next().await {
        left.unwrap();
    }
}

/// One guest with one device.
struct Guest {
    world: Arc<World>,
    rng: StdRng,
    number: u32,
    venue: Venue,
    visit: Name,
    id: String,
    secret: String,
    session: u32,
    token: Option<String>,
    phone: String,
    corrections: u32,
    /// When the run is over: the guest begins nothing new then.
    until: Instant,
}

impl Guest {
    fn new(world: Arc<World>, mut rng: StdRng, number: u32, until: Instant) -> Guest {
        let venue = world.venues[rng.random_range(0..world.venues.len())].clone();
        let secret = Secret(rng.random());
        let now = Wall(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap());
        let id = VisitId::of(now, &secret).to_string();
        let visit = world.recorder.name(&id);
        world.visits.lock().insert(visit, venue.name);
        Guest {
            world,
            rng,
            number,
            venue,
            visit,
            id,
            secret: secret.to_string(),
            session: 2 * number,
            token: None,
            phone: format!("030 {number}"),
            corrections: 0,
            until,
        }
    }

    async fn visit(mut self) {
        let home = self.region();
        for next in 0..TRIES {
            let region = (home + next) % self.world.regions.len();
            if self.check_in(region).await.is_some_and(|status| status < 300) {
                break;
            }
        }
        for _ in 0..self.rng.random_range(1..8) {
            sleep(Duration::from_millis(self.rng.random_range(0..1_500))).await;
            if Instant::now() >= self.until {
                return;
            }
            let region = self.region();
            match self.rng.random_range(0..100) {
                0..30 => drop(self.read(region).await),
                30..45 => drop(self.check_in(region).await),
                45..63 => self.correct(region).await,
                63..73 => self.correct_twice(region).await,
                73..82 => self.list(region).await,
                _ => return self.erase(region).await,
            }
        }
    }

    fn region(&mut self) -> usize {
        self.rng.random_range(0..self.world.regions.len())
    }

    fn ask(&self, method: &'static str) -> Ask {
        Ask::new(method, format!("{}/visits/{}", self.venue.path, self.id)).header("meridian-secret", &*self.secret)
    }

    async fn check_in(&mut self, region: usize) -> Option<u16> {
        let value = self.world.recorder.name(&self.phone);
        let ask = self.ask("PUT").body("application/json", persons(&self.phone));
        self.send(region, Act::CheckIn { visit: self.visit, value }, ask).await
    }

    async fn read(&mut self, region: usize) -> Option<u16> {
        let ask = self.ask("GET");
        self.send(region, Act::Read { visit: self.visit }, ask).await
    }

    /// A correction that no other request makes.
    fn correction(&mut self) -> (Act, Ask) {
        self.corrections += 1;
        let phone = format!("{} {}", self.phone, self.corrections);
        let value = self.world.recorder.name(&phone);
        let ask = self.ask("PATCH").body("application/merge-patch+json", persons(&phone));
        (Act::Correct { visit: self.visit, value }, ask)
    }

    async fn correct(&mut self, region: usize) {
        let (act, ask) = self.correction();
        self.send(region, act, ask).await;
    }

    /// Two devices correct the visit at the same time, in two regions. The second device has a session of its own.
    async fn correct_twice(&mut self, region: usize) {
        let (first, second) = (self.correction(), self.correction());
        let other = (region + self.rng.random_range(1..self.world.regions.len())) % self.world.regions.len();
        let ((), ()) =
            tokio::join!(async { drop(send(&self.world, other, None, None, second.0, second.1).await) }, async {
                let token = self.token.clone();
                let (_, token) = send(&self.world, region, Some(self.session), token, first.0, first.1).await;
                self.token = token;
            });
    }

    async fn list(&mut self, region: usize) {
        let ask = list(&self.venue);
        self.send(region, Act::List { venue: self.venue.name }, ask).await;
    }

    /// Erases until a region acknowledges, then looks and tries to check in again everywhere.
    async fn erase(mut self, home: usize) {
        for next in 0..TRIES {
            let region = (home + next) % self.world.regions.len();
            // Some want to know that all regions have it.
            let mut ask = self.ask("DELETE");
            if self.rng.random_ratio(1, 3) {
                ask.path.push_str("?durability=all&wait=1s");
            }
            if self.send(region, Act::Erase { visit: self.visit }, ask).await.is_some_and(|status| status < 300) {
                break;
            }
        }
        for _ in 0..self.rng.random_range(1..6) {
            sleep(Duration::from_millis(self.rng.random_range(0..2_000))).await;
            if Instant::now() >= self.until {
                return;
            }
            let region = self.region();
            match self.rng.random_range(0..4) {
                0 => drop(self.check_in(region).await),
                1 => self.correct(region).await,
                2 => self.list(region).await,
                _ => drop(self.read(region).await),
            }
        }
    }

    /// Sends a request of the guest's session. Returns the status of the answer.
    async fn send(&mut self, region: usize, act: Act, ask: Ask) -> Option<u16> {
        debug_assert_eq!(self.session, 2 * self.number);
        let (status, token) = send(&self.world, region, Some(self.session), self.token.take(), act, ask).await;
        self.token = token;
        status
    }
}

fn persons(phone: &str) -> Value {
    json!({"persons": [{"name": "Zoë Nemesis", "phone": phone}]})
}

/// The whole guest list of a venue.
pub(crate) fn list(venue: &Venue) -> Ask {
    Ask::new("GET", format!("{}/guests?limit=10000", venue.path))
        .header("authorization", format!("Bearer {}", venue.key))
}

/// Sends a request and takes it down. Returns the status, and the token for the next request of the session.
pub(crate) async fn send(
    world: &World,
    region: usize,
    session: Option<u32>,
    token: Option<String>,
    act: Act,
    mut ask: Ask,
) -> (Option<u16>, Option<String>) {
    if let Some(token) = &token {
        ask = ask.header("meridian-session", token);
    }
    let begin = world.recorder.now();
    let answer = ask.send(world.regions[region].1, PATIENCE).await;
    let now = world.recorder.now();
    let outcome = match &answer {
        Ok(answer) => Outcome::Answered(answer.status),
        Err(NoAnswer::NotSent) => Outcome::NotSent,
        Err(NoAnswer::Unknown) => Outcome::Unknown,
    };
    let end = if outcome == Outcome::Unknown || matches!(outcome, Outcome::Answered(500..)) { u64::MAX } else { now };
    let mut op = Op {
        begin,
        end,
        session,
        region: u8::try_from(region).unwrap(),
        act,
        outcome,
        shows: Vec::new(),
        confirmed: Vec::new(),
        is_stale: false,
    };
    let mut next = token;
    if let Ok(answer) = &answer {
        op.is_stale = answer.header("meridian-stale").is_some();
        op.shows = shows(world, &op.act, answer);
        let confirmed = answer.header("meridian-confirmed").unwrap_or_default().split(", ");
        let number = |name: &str| world.regions.iter().position(|(region, _)| *region == name);
        op.confirmed = confirmed.filter_map(number).map(|region| u8::try_from(region).unwrap()).collect();
        if let Some(token) = answer.header("meridian-session") {
            next = Some(token.to_owned());
        }
    }
    let status = answer.ok().map(|answer| answer.status);
    world.recorder.take(op);
    (status, next)
}

/// The visits that an answer shows.
fn shows(world: &World, act: &Act, answer: &Answer) -> Vec<Row> {
    if answer.status != 200 {
        return Vec::new();
    }
    let row = |visit: Name, shown: &Value| {
        let mut texts = Vec::new();
        texts.extend(shown["persons"][0]["phone"].as_str());
        phones(&shown["conflicts"], &mut texts);
        let mut values: Vec<Name> = texts.into_iter().map(|text| world.recorder.name(text)).collect();
        values.sort_unstable();
        values.dedup();
        Row { visit, values: values.into() }
    };
    match act {
        Act::Read { visit } => vec![row(*visit, &answer.json())],
        Act::List { .. } | Act::FinalList { .. } => {
            let body = answer.json();
            let rows = body["visits"].as_array().into_iter().flatten();
            rows.map(|shown| row(world.recorder.name(shown["visit_id"].as_str().unwrap_or("no id")), shown)).collect()
        }
        _ => Vec::new(),
    }
}

/// Every telephone number of a run that lies somewhere in a value.
fn phones<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if text.starts_with("030 ") => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| phones(item, found)),
        Value::Object(items) => items.values().for_each(|item| phones(item, found)),
        _ => {}
    }
}
