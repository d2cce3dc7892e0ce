//! Sends every line of `tests/data/hostile.ndjson` to its own venue, under the venue's own policy pack.

use std::collections::BTreeMap;

use api::Moment;
use jiff::{SignedDuration, Timestamp};
use replication::Wall;
use serde::Deserialize;
use serde_json::Value;

use super::{CANARY, Guarded};
use crate::common::{Call, Venue, venues};

const HOSTILE: &str = include_str!("../../data/hostile.ndjson");
const PACKS: [&str; 4] = ["default", "de-be", "de-bw", "at-2021"];

#[derive(Deserialize)]
struct Hostile {
    label: String,
    venue: String,
    now: Timestamp,
    id_arrived: Option<Timestamp>,
    code: String,
    pointer: String,
    visit: Option<Value>,
    raw: Option<String>,
}

impl Hostile {
    /// The difference between the line's time and now.
    fn shift(&self) -> SignedDuration {
        // A time that is too early by a millisecond would be valid by its arrival, and one that is too old by a
        // millisecond is valid for a node whose trusted time is slightly behind.
        let minute = SignedDuration::from_mins(1);
        let late = match self.code.as_str() {
            "too_early" => minute,
            "too_old" => -minute,
            _ => SignedDuration::ZERO,
        };
        Timestamp::now().duration_since(self.now) + late
    }

    /// The body with its times shifted. A text that is not a time, or has another age on purpose, stays.
    fn body(&self, shift: SignedDuration) -> String {
        let Some(visit) = &self.visit else { return self.raw.clone().unwrap() };
        let mut visit = visit.clone();
        for field in ["arrived", "left"] {
            let time = visit.get(field).and_then(Value::as_str).and_then(|text| text.parse::<Moment>().ok());
            let time = time.map(Timestamp::from);
            let near = time.filter(|time| time.duration_since(self.now).abs() < SignedDuration::from_hours(24 * 365));
            if let Some(time) = near {
                visit[field] = (time + shift).to_string().into();
            }
        }
        visit.to_string()
    }
}

#[test]
fn every_hostile_body_is_refused_with_its_code() {
    let guarded = Guarded::start(&PACKS);
    let node = &guarded.deployment.nodes[0];
    let mut venues = BTreeMap::new();
    for line in venues::lines() {
        // A venue keeps the pack of the node that made it, and every node has all packs.
        if let Some(index) = PACKS.iter().position(|pack| *pack == line.policy) {
            venues.insert(line.label, Venue::make_of(guarded.deployment.nodes[index].public, &line.venue));
        }
    }
    venues.values().for_each(|venue| guarded.deployment.wait_known(venue));
    let mut count = 0;
    for line in HOSTILE.lines().map(|line| serde_json::from_str::<Hostile>(line).unwrap()) {
        count += 1;
        let venue = &venues[&line.venue];
        let shift = line.shift();
        let call = match line.id_arrived {
            Some(arrived) => {
                let ms = u64::try_from((arrived + shift).as_millisecond()).unwrap();
                let visit = venue.visit_at(Wall(ms), Value::Null);
                Call::new("PUT", visit.path()).header("Meridian-Secret", visit.secret)
            }
            None => Call::new("POST", format!("{}/visits", venue.path)),
        };
        let answer = node.ask(&call.header("Content-Type", "application/json").bytes(line.body(shift)));
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!told.contains(CANARY), "{}: {told}", line.label);
        // The id is that of a visit that has expired: the guest is told that, and not that the time is wrong.
        if line.code == "too_old" && line.id_arrived.is_some() {
            answer.problem(410);
            continue;
        }
        let status = if line.code == "malformed" { 400 } else { 422 };
        assert_eq!(answer.status, status, "{}: {told}", line.label);
        let problem = answer.problem(status);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{}: {told}", line.label));
        let named = |error: &Value| error["code"] == *line.code && error["pointer"] == *line.pointer;
        assert!(errors.iter().any(named), "{}: {told}", line.label);
    }
    assert!(count >= 60, "{count}");
    for (label, venue) in &venues {
        assert!(venue.list(node.public).is_empty(), "{label}: nothing of it was stored");
    }
    guarded.unharmed();
}
