//! The check-ins of `tests/data`, sent to running nodes: what guests typed comes back byte for byte (in Unicode NFC) as
//! JSON, NDJSON and CSV, and in another region. Those without a departure are sent as the check-in page sends them.

use std::collections::BTreeMap;

use crate::common::venues::{self, VenueLine};
use crate::common::{Call, Deployment, Venue, Visit, guest};
use jiff::Timestamp;
use registry::{PersonField, guest_csv};
use replication::Wall;
use serde::Deserialize;
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization as _;

const CHECKINS: &str = include_str!("../data/checkins.ndjson");
/// A venue has the rules of the node that makes it, so there is one node for each pack of the data set.
const PACKS: [&str; 5] = ["development", "default", "de-be", "de-bw", "at-2021"];
/// One more pack than there are regions: its venues are made under a pack that asks for less.
const ALSO: (&str, &str) = ("de-by", "de-bw");

#[derive(Deserialize)]
struct Checkin {
    label: String,
    venue: String,
    arrived: Timestamp,
    left: Option<Timestamp>,
    visit: Value,
}

/// What was typed, and what must come back.
struct Sent {
    label: String,
    venue: String,
    visit: Visit,
    arrived: Timestamp,
    left: Option<Timestamp>,
    area: Option<String>,
    persons: Value,
}

#[test]
fn what_guests_typed_comes_back() {
    let deployment = Deployment::with(&PACKS, "info");
    let venues = venues(&deployment);
    venues.values().for_each(|venue| deployment.wait_known(venue));
    let lines: Vec<Checkin> = CHECKINS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 300);
    // All of them began a minute ago and last as long as in the data set.
    let begun = Wall(guest::now().0 - 60_000);
    let mut sent = BTreeMap::new();
    for (index, line) in lines.into_iter().enumerate() {
        let one = send(&deployment, &venues, line, Wall(begun.0 + index as u64));
        assert!(sent.insert(one.visit.id.clone(), one).is_none());
    }
    let any = venues.values().next().unwrap();
    deployment.wait_complete(any);
    // In the region of the first node and in that of the last one.
    for node in [0, PACKS.len() - 1] {
        let at = deployment.nodes[node].public;
        let mut found = 0;
        for (label, venue) in &venues {
            let wanted: BTreeMap<&str, &Sent> =
                sent.values().filter(|one| one.venue == *label).map(|one| (one.visit.id.as_str(), one)).collect();
            found += wanted.len();
            let rows = venue.guests(at)["visits"].as_array().unwrap().clone();
            same(&rows, &wanted);
            let answer = venue.call("GET", "/guests").header("Accept", "application/x-ndjson").to(at).expect(200);
            let mut lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert!(lines.pop().unwrap()["completeness"].is_object(), "the last line closes the list");
            same(&lines, &wanted);
            let answer = venue.call("GET", "/guests").header("Accept", "text/csv").to(at).expect(200);
            same_table(&answer.body, &wanted);
        }
        assert_eq!(found, 300);
    }
    let logs = deployment.logs();
    assert!(!logs.contains("panicked"));
    for one in sent.values() {
        for person in one.persons.as_array().unwrap() {
            let name = person["name"].as_str().unwrap();
            // A short name occurs in other words.
            assert!(name.len() < 8 || !logs.contains(name), "{}: a log has the name", one.label);
        }
    }
}

/// Every venue of the data set, made at the node that has its rules.
fn venues(deployment: &Deployment) -> BTreeMap<String, Venue> {
    let lines = venues::lines();
    let make = |mut line: VenueLine| {
        let policy = if line.policy == ALSO.0 { ALSO.1 } else { &line.policy };
        let node = PACKS.iter().position(|pack| *pack == policy).unwrap();
        if line.policy == "development" {
            // This venue keeps visits for seconds, which is less than this test takes.
            line.venue.as_object_mut().unwrap().remove("retention");
        }
        (line.label, Venue::make_of(deployment.nodes[node].public, &line.venue))
    };
    lines.into_iter().map(make).collect()
}

/// Checks one line in and repeats it, with one region after the other.
fn send(deployment: &Deployment, venues: &BTreeMap<String, Venue>, line: Checkin, arrival: Wall) -> Sent {
    let arrived = Timestamp::from_millisecond(arrival.0.cast_signed()).unwrap();
    let left = line.left.map(|left| arrived + left.duration_since(line.arrived));
    let mut body = line.visit.clone();
    body["arrived"] = json!(arrived.to_string());
    body["left"] = json!(left.map(|left| left.to_string()));
    let visit = venues[&line.venue].visit_at(arrival, body);
    let node = &deployment.nodes[usize::try_from(arrival.0).unwrap() % deployment.nodes.len()];
    // A form says nothing of a departure, so only those without one can be sent as a form.
    if left.is_none() {
        let page = node.ask(&form(&venues[&line.venue], &visit));
        assert_eq!(page.status, 200, "{}: {}", line.label, page.text());
    } else {
        let answer = node.ask(&visit.put());
        assert_eq!(answer.status, 201, "{}: {}", line.label, answer.text());
    }
    // A repeat of the same body is recognised, however it was typed.
    assert_eq!(node.ask(&visit.put()).status, 200, "{}", line.label);
    let record = node.ask(&visit.get()).expect(200).json();
    let composed = composed(&line.visit);
    assert_eq!(record["persons"], composed["persons"], "{}", line.label);
    let area = composed.get("area").and_then(Value::as_str).map(str::to_owned);
    // Times are kept to the millisecond.
    let left = left.map(|left| Timestamp::from_millisecond(left.as_millisecond()).unwrap());
    Sent { label: line.label, venue: line.venue, visit, arrived, left, area, persons: composed["persons"].clone() }
}

/// The check-in as the form of the check-in page sends it.
fn form(venue: &Venue, visit: &Visit) -> Call {
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    fields.append_pair("visit", &visit.id).append_pair("secret", &visit.secret);
    fields.append_pair("area", visit.body["area"].as_str().unwrap_or_default());
    for (place, person) in (1..).zip(visit.body["persons"].as_array().unwrap()) {
        for field in PersonField::DETAILS.map(PersonField::json) {
            fields.append_pair(&format!("{field}-{place}"), person[field].as_str().unwrap_or_default());
        }
    }
    let call = Call::new("POST", format!("/c/{}", venue.id));
    call.header("Content-Type", "application/x-www-form-urlencoded").bytes(fields.finish())
}

/// All text of a JSON value in NFC.
fn composed(value: &Value) -> Value {
    match value {
        Value::String(text) => text.nfc().collect::<String>().into(),
        Value::Array(items) => items.iter().map(composed).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), composed(value))).collect(),
        other => other.clone(),
    }
}

/// The rows are these visits, each once, in order of arrival.
fn same(rows: &[Value], wanted: &BTreeMap<&str, &Sent>) {
    assert_eq!(rows.len(), wanted.len());
    for (row, (id, one)) in rows.iter().zip(wanted) {
        assert_eq!(row["visit_id"], **id, "{}", one.label);
        assert_eq!(row["persons"], one.persons, "{}", one.label);
        assert_eq!(row.get("area").and_then(Value::as_str), one.area.as_deref(), "{}", one.label);
        assert_eq!(row["arrived"].as_str().unwrap().parse::<Timestamp>().unwrap(), one.arrived, "{}", one.label);
        let left = row["left"].as_str().unwrap().parse::<Timestamp>().unwrap();
        let estimated = row.get("left_estimated").is_some_and(|value| value == true);
        assert_eq!((!estimated).then_some(left), one.left, "{}", one.label);
        assert!(row.get("conflicts").is_none(), "{}", one.label);
    }
}

/// The table has one line for each person. Its cells are the typed text once the marks are removed.
fn same_table(body: &[u8], wanted: &BTreeMap<&str, &Sent>) {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").expect("a byte order mark");
    let mut table = csv::ReaderBuilder::new().from_reader(body);
    let columns: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let lines: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let persons =
        wanted.values().flat_map(|one| one.persons.as_array().unwrap().iter().map(move |person| (one, person)));
    assert_eq!(lines.len(), persons.clone().count());
    for (line, (one, person)) in lines.iter().zip(persons) {
        for (name, cell) in columns.iter().zip(line).filter(|(name, _)| *name != "phone") {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
                "{}: {name}: a formula: {cell}",
                one.label
            );
        }
        assert_eq!(&line[column("phone")], person["phone"].as_str().unwrap_or_default(), "{}", one.label);
        let text = |name: &str| guest_csv::plain(&line[column(name)]);
        assert_eq!(text("visit_id"), one.visit.id);
        assert_eq!(text("area"), one.area.as_deref().unwrap_or_default(), "{}", one.label);
        for field in PersonField::DETAILS.map(PersonField::json) {
            assert_eq!(text(field), person[field].as_str().unwrap_or_default(), "{}: {field}", one.label);
        }
    }
}

/// The guest list of an area and of a time holds only the guests of that area and time.
#[test]
fn windows_and_areas_are_exact() {
    let deployment = Deployment::start(1);
    let at = deployment.nodes[0].public;
    let venue = Venue::make(at, "14d");
    let hour = 3_600_000;
    // Whole seconds, so that the bounds below are exact.
    let base = Wall((guest::now().0 / 1_000) * 1_000 - 10 * hour);
    let show = |wall: Wall| Timestamp::from_millisecond(wall.0.cast_signed()).unwrap().to_string();
    let stay = |from: u64, to: u64, area: Option<&str>| {
        let (arrived, left) = (Wall(base.0 + from * hour), Wall(base.0 + to * hour));
        let persons = json!([{"name": format!("{from} to {to}"), "phone": "030 1234"}]);
        let visit = venue.visit_at(arrived, json!({"left": show(left), "area": area, "persons": persons}));
        visit.check_in(at);
        visit.id
    };
    let (early, bar, late) = (stay(0, 2, None), stay(1, 4, Some("Bar")), stay(4, 6, None));
    let listed = |from: u64, to: u64, rest: &str| {
        let (from, to) = (show(Wall(base.0 + from * hour)), show(Wall(base.0 + to * hour)));
        let list = venue.call("GET", &format!("/guests?from={from}&to={to}{rest}")).to(at).expect(200).json();
        let rows = list["visits"].as_array().unwrap().iter();
        rows.map(|row| row["visit_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [early_id, bar_id, late_id] = [&early, &bar, &late].map(String::as_str);
    assert_eq!(listed(0, 10, ""), [early_id, bar_id, late_id]);
    // Half-open on both sides: a guest who left at two is not in a list from two on, and one who came at four not in a
    // list until four.
    assert_eq!(listed(2, 4, ""), [bar_id]);
    assert_eq!(listed(4, 5, ""), [late_id]);
    assert_eq!(listed(0, 10, "&area=Bar"), [bar_id]);
    assert_eq!(listed(6, 10, ""), [""; 0]);
    let contacts = Call::new("GET", format!("{}/contacts?visit={early}", venue.path))
        .header("Authorization", format!("Bearer {}", venue.key))
        .to(at)
        .expect(200)
        .json();
    let contacts: Vec<&str> =
        contacts["contacts"].as_array().unwrap().iter().filter_map(|row| row["visit_id"].as_str()).collect();
    assert_eq!(contacts, [bar_id]);
    // The list page by page is the same list.
    let mut pages = Vec::new();
    let mut rest = String::new();
    loop {
        let page = venue.call("GET", &format!("/guests?limit=1{rest}")).to(at).expect(200).json();
        pages.extend(page["visits"].as_array().unwrap().iter().map(|row| row["visit_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["cursor"].as_str() else { break };
        rest = format!("&cursor={cursor}");
    }
    assert_eq!(pages, [early, bar, late]);
}
