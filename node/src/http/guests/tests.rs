//! The tables for offices over HTTP.

use std::io::Cursor;
use std::time::Duration;

use calamine::{Data, Reader, Xlsx};
use http_body_util::BodyExt;
use registry::{GuestTable, TableWords, Window};
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
    assert!(answer.body.contains(";end estimated, arrived late;;1;1;'=Anna;'+49 711 123;"), "{answer:?}");
    let scripts = venue.list(&api, "/guests", "text/csv").await;
    assert!(scripts.body.starts_with("\u{FEFF}visit_id,area,arrived,"), "{scripts:?}");
    for (rest, accept) in [("dialect=excel-de", XLSX), ("dialect=excel-de", "*/*"), ("dialect=excel", "text/csv")] {
        let refused = venue.list(&api, &format!("/guests?{rest}"), accept).await;
        assert_eq!(refused.status, 400, "{refused:?}");
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
