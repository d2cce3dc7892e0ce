//! Venues and visits from the view of their owners and guests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use registry::{Secret, VisitId};
use replication::Wall;
use serde_json::{Value, json};

use super::client::{Answer, Call};

/// A venue that a test made.
#[derive(Clone, Debug)]
pub(crate) struct Venue {
    pub id: String,
    pub key: String,
    /// `/v1/venues/{id}`
    pub path: String,
}

/// A visit whose id and secret the guest's device made.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub id: String,
    pub secret: String,
    path: String,
    /// The body as typed.
    pub body: Value,
}

/// A guest list by visit id.
pub(crate) type List = BTreeMap<String, Value>;

impl Venue {
    /// Makes a venue.
    #[track_caller]
    pub(crate) fn make(at: SocketAddr, retention: &str) -> Venue {
        let body = json!({"name": "Zum Test", "timezone": "Europe/Berlin", "retention": retention, "areas": ["Bar"]});
        Venue::make_of(at, &body)
    }

    /// Makes a venue with any body.
    #[track_caller]
    pub(crate) fn make_of(at: SocketAddr, body: &Value) -> Venue {
        let made = Call::new("POST", "/v1/venues").json(body).to(at).expect(201).json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Venue { id: text("venue_id"), key: text("owner_key"), path: format!("/v1/venues/{}", text("venue_id")) }
    }

    /// A request with the owner's key; `rest` follows the venue's path.
    pub(crate) fn call(&self, method: &str, rest: &str) -> Call {
        Call::new(method, format!("{}{rest}", self.path)).header("Authorization", format!("Bearer {}", self.key))
    }

    /// The whole guest list.
    #[track_caller]
    pub(crate) fn guests(&self, at: SocketAddr) -> Value {
        self.call("GET", "/guests?limit=10000").to(at).expect(200).json()
    }

    /// The guest list by visit id, without what differs between regions; panics if a visit is in it twice.
    #[track_caller]
    pub(crate) fn list(&self, at: SocketAddr) -> List {
        by_id(&self.guests(at))
    }

    /// The same of a node that may end at any moment.
    pub(crate) fn list_if_up(&self, at: SocketAddr) -> Result<List, String> {
        let guests = self.call("GET", "/guests?limit=10000").send(at).map_err(|error| error.to_string())?;
        if guests.status == 200 { Ok(by_id(&guests.json())) } else { Err(guests.text().to_owned()) }
    }

    /// For each region, the moment through which the list is complete.
    #[track_caller]
    pub(crate) fn completeness(&self, at: SocketAddr) -> BTreeMap<String, Timestamp> {
        let answer = self.call("GET", "/guests?limit=1").to(at).expect(200).json();
        serde_json::from_value(answer["completeness"].clone()).unwrap()
    }

    /// A visit that begins now.
    pub(crate) fn visit(&self, name: &str, phone: &str) -> Visit {
        self.visit_at(now(), json!({"persons": [{"name": name, "phone": phone}]}))
    }

    /// A visit that began at some time, with any body.
    pub(crate) fn visit_at(&self, arrival: Wall, body: Value) -> Visit {
        let secret = Secret(rand::random());
        let id = VisitId::of(arrival, &secret).to_string();
        Visit { path: format!("{}/visits/{id}", self.path), id, secret: secret.to_string(), body }
    }
}

impl Visit {
    fn call(&self, method: &str) -> Call {
        Call::new(method, &self.path).header("Meridian-Secret", &self.secret)
    }

    /// The check-in.
    pub(crate) fn put(&self) -> Call {
        self.call("PUT").json(&self.body)
    }

    /// A correction of the first person's phone number.
    pub(crate) fn correct(&self, phone: &str) -> Call {
        let mut persons = self.body["persons"].clone();
        persons[0]["phone"] = phone.into();
        let patch = json!({"persons": persons}).to_string();
        self.call("PATCH").header("Content-Type", "application/merge-patch+json").bytes(patch)
    }

    /// The guest's own record.
    pub(crate) fn get(&self) -> Call {
        self.call("GET")
    }

    /// The erasure.
    pub(crate) fn erase(&self) -> Call {
        self.call("DELETE")
    }

    /// Its path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Checks in a visit that is new there.
    #[track_caller]
    pub(crate) fn check_in(&self, at: SocketAddr) -> Answer {
        self.put().to(at).expect(201)
    }
}

/// The rows of a guest list by visit id, without what differs between regions.
#[track_caller]
fn by_id(guests: &Value) -> List {
    assert!(guests.get("cursor").is_none(), "one page is enough for a test");
    let mut list = List::new();
    for row in guests["visits"].as_array().unwrap() {
        let mut row = row.clone();
        // The region is unknown right after a restart, until a peer is heard.
        row.as_object_mut().unwrap().remove("region");
        let id = row["visit_id"].as_str().unwrap().to_owned();
        assert!(list.insert(id, row).is_none(), "twice in one list: {guests}");
    }
    list
}

/// The first person's phone number in a row of a guest list.
#[track_caller]
pub(crate) fn phone(row: &Value) -> &str {
    row["persons"][0]["phone"].as_str().unwrap_or_else(|| panic!("no phone number: {row}"))
}

/// All concurrent values that a row shows, as one text.
pub(crate) fn conflicts(row: &Value) -> String {
    row.get("conflicts").map_or_else(String::new, Value::to_string)
}

/// This machine's clock, which all nodes of a test share.
pub(crate) fn now() -> Wall {
    Wall(u64::try_from(Timestamp::now().as_millisecond()).unwrap())
}
