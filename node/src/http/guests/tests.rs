//! The tables for offices over HTTP.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use calamine::{Data, Reader, Xlsx};
use http_body_util::BodyExt;
use registry::{GuestTable, PolicyPack, Secret, TableWords, VisitId, Window};
use replication::Wall;
use serde_json::{Value, json};

use super::super::testing::{Api, Guest, Venue};
use super::super::venues::{self, VenueLookup};
use super::pages::Pages;
use super::xlsx;

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

fn body(name: &str) -> Value {
    json!({"persons": [{"name": name, "phone": "+49 711 123"}, {"name": "Ben"}]})
}

/// A venue with so many visits; the first arrived an hour ago, the others now.
async fn visited(api: &Api, visits: u8) -> (Venue, Vec<Guest>) {
    let venue = api.venue().await;
    let ago = |number| if number == 1 { Duration::from_hours(1) } else { Duration::from_mins(1) };
    let guests: Vec<Guest> = (1..=visits).map(|number| venue.guest(number, ago(number))).collect();
    for guest in &guests {
        assert_eq!(guest.ask(api, "PUT", Some(&body("=Anna"))).await.status, 201);
    }
    (venue, guests)
}

/// The sheets of a workbook as text.
fn sheets(file: Vec<u8>) -> Vec<Vec<Vec<String>>> {
    let mut read = Xlsx::new(Cursor::new(file)).expect("a workbook");
    let sheets = read.worksheets().into_iter();
    let line = |cells: &[Data]| cells.iter().map(ToString::to_string).collect();
    sheets.map(|(_, sheet)| sheet.rows().map(line).collect()).collect()
}

#[tokio::test]
async fn a_workbook_has_the_whole_list() {
    let api = Api::start().await;
    let (venue, guests) = visited(&api, 3).await;
    let answer = venue.file(&api, "/guests", XLSX).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(XLSX)));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"guests.xlsx\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(answer.header("meridian-completeness").is_some() && answer.header("meridian-session").is_some());
    let sheets = sheets(answer.body);
    assert_eq!(sheets[0].len(), 1 + 2 * guests.len());
    assert!(sheets[0][1].contains(&"=Anna".to_owned()) && sheets[0][1].contains(&"+49 711 123".to_owned()));
    assert!(sheets[0][1].contains(&"end estimated, arrived late".to_owned()), "{:?}", sheets[0][1]);
    assert!(sheets[0][3].contains(&"end estimated".to_owned()), "{:?}", sheets[0][3]);
    assert_eq!(sheets[1][1][0], api.app.region.as_str());
    assert_eq!(std::fs::read_dir(api.data.path()).expect("a folder").count(), 0, "no file is left");
    assert_eq!(venue.file(&api, "/guests?limit=1", XLSX).await.status, 400, "it has no pages");
}

#[tokio::test]
async fn rows_that_do_not_read_are_counted_in_both_tables() {
    let api = Api::start().await;
    let (venue, guests) = visited(&api, 3).await;
    api.disk.damage(&guests[1].id.name(venue.id));
    let said = "Unreadable rows, missing from this list";
    let sheets = sheets(venue.file(&api, "/guests", XLSX).await.body);
    assert_eq!(sheets[0].last().expect("a row")[0], format!("{said}: 1"));
    assert_eq!(sheets[1].last().expect("a row")[..2], [said.to_owned(), "1".to_owned()]);
    let table = venue.list(&api, "/guests?dialect=excel-de", "text/csv").await.body;
    assert!(table.trim_end().lines().last().expect("a line").starts_with(&format!("{said};1;")), "{table}");
}

#[tokio::test]
async fn the_csv_for_offices_is_asked_for_by_its_dialect() {
    let api = Api::start().await;
    let (venue, _) = visited(&api, 1).await;
    let answer = venue.list(&api, "/guests?dialect=excel-de", "text/csv").await;
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"guests.csv\""));
    assert!(answer.body.starts_with("\u{FEFF}Arrived;UTC offset (arrived);Left;"), "{answer:?}");
    assert!(answer.body.contains(";end estimated, arrived late;;1;1;'=Anna;+49 711 123;"), "{answer:?}");
    let scripts = venue.list(&api, "/guests", "text/csv").await;
    assert!(scripts.body.starts_with("\u{FEFF}visit_id,area,arrived,"), "{scripts:?}");
    assert!(scripts.body.contains("\"'=Anna\",\"+49 711 123\","), "{scripts:?}");
    for (rest, accept) in [("dialect=excel-de", XLSX), ("dialect=excel-de", "*/*"), ("dialect=excel", "text/csv")] {
        let refused = venue.list(&api, &format!("/guests?{rest}"), accept).await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
}

#[tokio::test]
async fn contacts_come_as_either_table() {
    let api = Api::start().await;
    let (venue, guests) = visited(&api, 3).await;
    let path = format!("/contacts?visit={}", guests[1].id);
    let json = venue.list(&api, &path, "application/json").await;
    assert_eq!(json.json()["contacts"].as_array().map(Vec::len), Some(2));

    let scripts = venue.list(&api, &path, "text/csv").await;
    assert_eq!(scripts.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(scripts.header("content-disposition"), Some("attachment; filename=\"contacts.csv\""));
    assert_eq!((scripts.header("cache-control"), scripts.header("vary")), (Some("no-store"), Some("accept")));
    assert!(scripts.header("meridian-completeness").is_some() && scripts.header("meridian-session").is_some());
    assert!(scripts.body.starts_with("\u{FEFF}minutes,same_area,visit_id,area,"), "{scripts:?}");
    let lines: Vec<&str> = scripts.body.trim_end().lines().collect();
    assert_eq!(lines.len(), 1 + 2 * 2, "a line for each person: {scripts:?}");
    // The third guest came with the second one, the first an hour earlier.
    assert!(lines[1].starts_with(&format!("\"240\",\"false\",\"{}\",", guests[2].id)), "{scripts:?}");
    assert!(lines[3].starts_with("\"181\",") || lines[3].starts_with("\"180\","), "{scripts:?}");

    let office = venue.list(&api, &format!("{path}&dialect=excel-de"), "text/csv").await.body;
    assert!(office.starts_with("\u{FEFF}Minutes together;Same area;Arrived;UTC offset (arrived);"), "{office}");
    assert!(office.contains(";end estimated, arrived late;;1;1;'=Anna;+49 711 123;"), "{office}");

    api.disk.damage(&guests[2].id.name(venue.id));
    let scripts = venue.list(&api, &path, "text/csv").await.body;
    assert!(scripts.trim_end().lines().last().expect("a line").starts_with("unreadable,1,"), "{scripts}");
    let office = venue.list(&api, &format!("{path}&dialect=excel-de"), "text/csv").await.body;
    let last = office.trim_end().lines().last().expect("a line");
    assert!(last.starts_with("Unreadable rows, missing from this list;1;"), "{office}");
    assert_eq!(venue.list(&api, &format!("{path}&dialect=excel-de"), "*/*").await.status, 400);
}

/// Guests of a hotel stay for nights: the list of the second night has them, and so have contacts.
#[tokio::test]
async fn a_stay_of_several_days_is_found_in_every_night() {
    let api = Api::under_default_with("longest_stay = \"10d\"").await;
    let venue = api.venue().await;
    let profile = api.ask("GET", &format!("/v1/venues/{}", venue.id), &[], None).await.json();
    assert_eq!((&profile["policy"]["longest_stay"], &profile["policy"]["assumed_stay"]), (&json!("10d"), &json!("4h")));
    // The first arrived more than a day before the second.
    let (first, second) = (venue.guest(1, Duration::from_mins(24 * 60 - 1)), venue.guest(2, Duration::ZERO));
    let second_arrival = second.id.arrival().plus(Duration::from_mins(4));
    let secret = Secret([2; 16]);
    let second = VisitId::of(second_arrival, &secret);
    let days = |number: u64| Duration::from_hours(24 * number);
    let at = |wall: Wall| Moment(wall).to_string();
    let stay = |name: &str, left: Wall| json!({"persons": body(name)["persons"], "left": at(left)});
    let first_leaves = first.id.arrival().plus(days(9));
    assert_eq!(first.ask(&api, "PUT", Some(&stay("Anna", first_leaves))).await.status, 201);
    let path = format!("/v1/venues/{}/visits/{second}", venue.id);
    let put = stay("Ben", second_arrival.plus(days(1)));
    let taken = api.ask("PUT", &path, &[("Meridian-Secret", &secret.to_string())], Some(&put)).await;
    assert_eq!(taken.status, 201, "{taken:?}");

    for night in 0..10 {
        let (from, to) = (first.id.arrival().plus(days(night)), first.id.arrival().plus(days(night) + days(1) / 8));
        let window = format!("/guests?from={}&to={}", at(from), at(to));
        let is_there = from < first_leaves;
        for accept in ["application/json", "application/x-ndjson", "text/csv"] {
            let list = venue.list(&api, &window, accept).await;
            assert_eq!(list.body.contains("Anna"), is_there, "night {night}: {list:?}");
        }
    }
    let contacts = venue.list(&api, &format!("/contacts?visit={second}"), "application/json").await.json();
    assert_eq!(contacts["contacts"][0]["visit_id"], first.id.to_string(), "{contacts}");
    assert_eq!(contacts["contacts"][0]["minutes"], 24 * 60);

    // A correction is bound in the same way, and a check-out of now is not beyond it.
    let late = json!({"left": at(first.id.arrival().plus(days(10) + Duration::from_millis(1)))});
    let refused = first.ask(&api, "PATCH", Some(&late)).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (422, &json!("stay_too_long")), "{refused:?}");
    let now = json!({"left": at(second_arrival)});
    assert_eq!(first.ask(&api, "PATCH", Some(&now)).await.status, 200);
}

/// A region whose node lacks the pack of a venue cannot know how long its guests stay: it looks as far back as it can.
#[tokio::test]
async fn a_long_stay_is_found_by_a_node_that_does_not_have_the_pack() {
    let api = Api::under_default_with("longest_stay = \"10d\"").await;
    let venue = api.venue().await;
    let guest = venue.guest(1, Duration::ZERO);
    let day = Duration::from_hours(24);
    let left = Moment(guest.id.arrival().plus(day * 9)).to_string();
    let stay = json!({"persons": body("Anna")["persons"], "left": left});
    assert_eq!(guest.ask(&api, "PUT", Some(&stay)).await.status, 201);
    let Ok(VenueLookup::Open(known)) = venues::read(&api.app, venue.id) else { panic!("an open venue") };
    let mut known = (*known).clone();
    known.pack = Arc::new(PolicyPack::built_in("de-bw").expect("built in"));
    let from = guest.id.arrival().plus(day * 5);
    let window = Window { from, to: from.plus(day) };
    let mut pages = Pages::new(api.app.clone(), api.app.handle.status(), Arc::new(known), window, None, None);
    assert_eq!(pages.next().await.expect("reads").expect("a page").len(), 1);
}

/// Whatever has a guest's data is in a media type that the client accepts.
#[tokio::test]
async fn personal_data_comes_in_an_accepted_format_or_not_at_all() {
    let api = Api::start().await;
    let (venue, guests) = visited(&api, 1).await;
    let contacts = format!("/contacts?visit={}", guests[0].id);
    for (path, accept) in [("/guests", "image/png"), (&contacts, XLSX), (&contacts, "application/x-ndjson")] {
        let refused = venue.list(&api, path, accept).await;
        assert_eq!(refused.status, 406, "{path} {accept}: {refused:?}");
        assert!(refused.body.contains("application/json"), "{refused:?}");
    }
    let own = async |accept: &str| {
        let path = format!("/v1/venues/{}/visits/{}", venue.id, guests[0].id);
        let headers = [("Meridian-Secret", guests[0].secret.as_str()), ("Accept", accept)];
        api.ask("GET", &path, &headers, None).await
    };
    let refused = own("text/csv").await;
    assert_eq!((refused.status, refused.body.contains("Anna")), (406, false), "{refused:?}");
    for accept in ["*/*", "application/json", "text/csv, application/*;q=0.1"] {
        assert_eq!(own(accept).await.status, 200, "{accept}");
    }
}

/// The answer does not wait for a workbook that takes long, and its end is the end of the workbook.
#[tokio::test]
async fn an_answer_begins_before_its_workbook_is_made() {
    let api = Api::start().await;
    let (venue, guests) = visited(&api, 3).await;
    let status = api.app.handle.status();
    let Ok(VenueLookup::Open(known)) = venues::read(&api.app, venue.id) else { panic!("an open venue") };
    let window = Window { from: Wall(0), to: Wall::NEVER };
    let pages = Pages::new(api.app.clone(), status, known, window, None, None);
    let table = GuestTable::new(TableWords::default(), "Europe/Berlin");
    let reply = xlsx::answer(&api.app, pages, table, [].into(), Duration::ZERO).await.expect("begins");
    assert!(reply.headers().get("content-length").is_none());
    assert_eq!(api.app.workbooks.available_permits(), 1, "it is being made");
    let file = reply.into_body().collect().await.expect("does not break off").to_bytes();
    assert_eq!(sheets(file.into())[0].len(), 1 + 2 * guests.len());
    assert_eq!(api.app.workbooks.available_permits(), 2);
}

#[tokio::test]
async fn few_workbooks_are_made_at_a_time() {
    let api = Api::start().await;
    let (venue, _) = visited(&api, 1).await;
    let running = api.app.workbooks.try_acquire_many(2).expect("none runs");
    let refused = venue.list(&api, "/guests", XLSX).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    drop(running);
    for _ in 0..4 {
        assert_eq!(venue.file(&api, "/guests", XLSX).await.status, 200, "a workbook gives its place back");
    }
}
