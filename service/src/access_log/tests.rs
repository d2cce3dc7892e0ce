//! Lines of the access log: what they say, where they go, and that none of them holds a request up.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use prometheus::{Registry, TextEncoder};
use serde_json::Value;

use super::{AccessLog, Entry, Logged};

fn begin(log: &AccessLog, method: &Method) -> Entry {
    log.begin(HeaderValue::from_static("abc-1"), method, "/v1/venues/{venue}")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn counted(registry: &Registry, result: &str) -> u64 {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let series = format!("meridian_access_log_lines_total{{result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_line_says_how_a_request_went_and_nothing_of_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (path, registry) = (folder.path().join("access"), Registry::new());
    let (log, guard) = AccessLog::open(&path, &registry).unwrap();
    let mut entry = begin(&log, &Method::PUT);
    entry.answered(StatusCode::CREATED);
    entry.came_from(Some("eu"), Some("eu-1"));
    entry.sent(2);
    let body = Logged::new(Full::new(Bytes::from_static(b"{\"a\":1}")), Some(entry));
    body.collect().await.unwrap();
    // A client that left before the answer, and a method that only that client knows.
    drop(begin(&log, &Method::from_bytes(b"ERIKA").unwrap()));
    // The answer to HEAD is whole without its body; the other one is not.
    for method in [Method::HEAD, Method::GET] {
        let mut entry = begin(&log, &method);
        entry.answered(StatusCode::OK);
        drop(Logged::new(Full::new(Bytes::from_static(b"more")), Some(entry)));
    }
    drop((log, guard));
    let lines = lines(&path);
    let first = &lines[0];
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    let all = ["attempts", "bytes", "id", "method", "ms", "node", "region", "route", "status", "time", "whole"];
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all);
    assert_eq!(
        (&first["id"], &first["route"], &first["method"]),
        (&"abc-1".into(), &"/v1/venues/{venue}".into(), &"PUT".into())
    );
    assert_eq!((&first["status"], &first["attempts"], &first["bytes"]), (&201.into(), &2.into(), &7.into()));
    assert_eq!((&first["region"], &first["node"], &first["whole"]), (&"eu".into(), &"eu-1".into(), &true.into()));
    assert!(first["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(lines[1].get("status").is_none() && lines[1]["method"] == "other" && lines[1]["whole"] == false);
    assert_eq!((&lines[2]["whole"], &lines[3]["whole"]), (&true.into(), &false.into()));
    assert_eq!((counted(&registry, "written"), counted(&registry, "dropped")), (4, 0));
}

/// The reader of the pipe takes nothing, as a disk that hangs.
#[test]
fn a_file_that_hangs_holds_nothing_up_and_what_is_lost_is_counted() {
    const ASKED: u64 = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let (path, registry) = (folder.path().join("pipe"), Registry::new());
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut reader = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let (log, guard) = AccessLog::open(&path, &registry).unwrap();
    for _ in 0..ASKED {
        drop(begin(&log, &Method::GET));
    }
    let dropped = counted(&registry, "dropped");
    assert!(dropped > 0 && dropped < ASKED, "{dropped}");
    // The pipe is read from here on, otherwise its thread would wait for ever.
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while reader.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
    drop(log);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while counted(&registry, "written") + dropped < ASKED {
        assert!(std::time::Instant::now() < deadline, "{}", counted(&registry, "written"));
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(guard);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = AccessLog::open(&folder.path().join("none/access"), &Registry::new()).unwrap_err();
    assert!(error.to_string().starts_with("log.access: cannot open "), "{error}");
}
