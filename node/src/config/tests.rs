//! The example loads, every table refuses an unknown key, and a refused bound names its key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Engine, NodeConfig, NodeFile, ValueError, validate};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/node.toml")
}

fn example_table() -> toml::Table {
    std::fs::read_to_string(example()).unwrap().parse().unwrap()
}

/// Every text in the example with the optional keys that it only mentions: the path to it, and the text.
fn texts() -> (toml::Value, Vec<(Vec<String>, String)>) {
    fn look(value: &toml::Value, path: &[String], found: &mut Vec<(Vec<String>, String)>) {
        let mut child = |key: String, value: &toml::Value| look(value, &[path, &[key]].concat(), found);
        match value {
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| child(key.clone(), value)),
            toml::Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| child(i.to_string(), item)),
            toml::Value::String(text) => found.push((path.to_vec(), text.clone())),
            _ => {}
        }
    }
    let mut file = toml::Value::Table(example_table());
    for (table, key, value) in [
        ("admin", "operators", "operators.toml".into()),
        ("log", "access", "access.log".into()),
        ("registry", "console_keys", vec!["console-key"].into()),
        ("drills", "check", vec!["drill.toml"].into()),
        ("http", "cors_origins", vec!["https://city.example"].into()),
    ] {
        file[table].as_table_mut().unwrap().insert(key.to_owned(), value);
    }
    let mut found = Vec::new();
    look(&file, &[], &mut found);
    (file, found)
}

/// The error of the example file with another text at `path`.
fn refusal_with(file: &toml::Value, path: &[String], text: &str) -> Option<String> {
    let mut file = file.clone();
    *at(&mut file, path) = text.into();
    let checked = toml::from_str::<NodeFile>(&toml::to_string(&file).unwrap()).map_err(|error| error.to_string());
    checked.and_then(|file| validate::node(file, Path::new("/f")).map_err(|error| error.to_string())).err()
}

/// Paths to every table in `value`, such as `peers.0.position`; the root is the empty path.
fn tables(value: &toml::Value, path: &[String], found: &mut Vec<Vec<String>>) {
    let mut child = |key: String, value: &toml::Value| tables(value, &[path, &[key]].concat(), found);
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| child(key.clone(), value));
            found.push(path.to_vec());
        }
        toml::Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| child(i.to_string(), item)),
        _ => {}
    }
}

fn at<'a>(value: &'a mut toml::Value, path: &[String]) -> &'a mut toml::Value {
    path.iter().fold(value, |value, key| match value {
        toml::Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        other => &mut other[key.as_str()],
    })
}

/// The example with the value at `path` replaced, checked.
fn with(path: &[&str], value: impl Into<toml::Value>) -> Result<NodeConfig, ValueError> {
    let mut file = toml::Value::Table(example_table());
    let (last, parents) = path.split_last().unwrap();
    let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
    at(&mut file, &parents).as_table_mut().unwrap().insert((*last).to_owned(), value.into());
    let file: NodeFile = file.try_into().unwrap();
    validate::node(file, Path::new("/etc/meridian"))
}

#[test]
fn the_example_loads() {
    let config = NodeConfig::load(&example()).unwrap();
    assert_eq!(config.name.as_str(), config.region.as_str());
    assert_eq!(config.storage.engine, Engine::Sled);
    assert_eq!(config.replication.heartbeat, Duration::from_millis(500));
    assert!(config.data.is_absolute() && config.tls.ca.is_absolute());
    assert!(!config.peers.is_empty());
}

#[test]
fn the_example_shows_every_key() {
    let written =
        toml::Table::try_from(toml::from_str::<NodeFile>(&std::fs::read_to_string(example()).unwrap()).unwrap());
    assert_eq!(written.unwrap(), example_table());
    let mut found = Vec::new();
    tables(&toml::Value::Table(example_table()), &[], &mut found);
    assert!(found.len() >= 9, "{found:?}");
}

#[test]
fn an_unknown_key_is_refused_in_every_table() {
    let file = toml::Value::Table(example_table());
    let mut found = Vec::new();
    tables(&file, &[], &mut found);
    for path in found {
        let mut bogus = file.clone();
        at(&mut bogus, &path).as_table_mut().unwrap().insert("heartbeet".to_owned(), 1.into());
        let text = toml::to_string(&bogus).unwrap();
        let error = toml::from_str::<NodeFile>(&text).expect_err(&format!("{path:?} took an unknown key"));
        assert!(error.to_string().contains("heartbeet"), "{path:?}: {error}");
    }
}

#[test]
fn what_up_writes_is_what_a_node_reads() {
    let file: NodeFile = example_table().try_into().unwrap();
    let again: NodeFile = toml::from_str(&toml::to_string_pretty(&file).unwrap()).unwrap();
    assert_eq!(again, file);
}

#[test]
fn values_out_of_bounds_are_refused_by_name() {
    let cases: [(&[&str], toml::Value); 14] = [
        (&["replication", "heartbeat_ms"], 49.into()),
        (&["replication", "heartbeat_ms"], 10_001.into()),
        (&["replication", "max_clock_skew_s"], 0.into()),
        (&["replication", "max_clock_skew_s"], 3_601.into()),
        (&["replication", "relay_after_ms"], 500.into()),
        (&["replication", "in_flight_kib"], 1.into()),
        (&["storage", "cache_mib"], 0.into()),
        (&["limits", "connections"], 0.into()),
        (&["position", "latitude"], 90.5.into()),
        (&["position", "longitude"], f64::NAN.into()),
        (&["listen", "public"], "127.0.1.1:0".into()),
        (&["registry", "policy"], "../etc".into()),
        (&["registry", "public_url"], "ftp://example.org".into()),
        (&["tls", "ca"], "".into()),
    ];
    for (path, value) in cases {
        let error = with(path, value.clone()).expect_err(&format!("{path:?} = {value} was taken")).to_string();
        assert!(error.starts_with(&path.join(".")), "{path:?}: {error}");
    }
}

#[test]
fn origins_are_as_browsers_write_them() {
    let origins = |list: &[&str]| {
        let list = list.iter().map(|origin| toml::Value::from(*origin)).collect::<Vec<_>>();
        with(&["http", "cors_origins"], list)
    };
    let good = ["https://city.example", "http://127.0.0.1:8080", "https://[::1]:1", "*"];
    assert_eq!(origins(&good).unwrap().cors_origins, good);
    for bad in [
        "",
        "city.example",
        "https://city.example/",
        "https://City.example",
        "https://city.example:443",
        "null",
        "ftp://city.example",
        "https://me@city.example",
        "https://city.example/path",
        "https://*.example/",
        "https://",
    ] {
        let error = origins(&[bad]).expect_err(bad).to_string();
        assert!(error.starts_with("http.cors_origins"), "{error}");
    }
}

#[test]
fn peers_that_contradict_are_refused() {
    let own = with(&["peers", "0", "name"], "eu-central").unwrap_err();
    assert!(matches!(own, ValueError::PeerIsSelf { index: 0, .. }), "{own}");
    let twice = with(&["peers", "1", "name"], "us-east").unwrap_err();
    assert_eq!(twice, ValueError::PeerTwice { index: 1, other: 0, field: "name" });
    let listener = with(&["peers", "0", "address"], "127.0.1.1:7081").unwrap_err();
    assert!(matches!(listener, ValueError::PeerIsOwnListener { index: 0, .. }), "{listener}");
    let portless = with(&["peers", "0", "address"], "us-east.example.org").unwrap_err();
    assert!(portless.to_string().starts_with("peers[0].address"), "{portless}");
    let shared = with(&["listen", "admin"], "0.0.0.0:7080").unwrap_err();
    assert!(shared.to_string().starts_with("listen.admin: 0.0.0.0:7080 is taken by listen.public"), "{shared}");
}

#[test]
fn relative_paths_count_from_the_file() {
    let config = with(&["data"], "store").unwrap();
    assert_eq!(config.data, Path::new("/etc/meridian/store"));
    assert_eq!(with(&["data"], "/srv/store").unwrap().data, Path::new("/srv/store"));
}

#[test]
fn no_key_takes_a_path_that_only_a_shell_understands() {
    let (file, texts) = texts();
    let mut paths = 0;
    for (path, _) in texts {
        for shell in ["~/x", "$HOME/x"] {
            let said = refusal_with(&file, &path, shell).unwrap_or_else(|| panic!("{path:?} took {shell}"));
            paths += usize::from(said.contains("write the whole path"));
        }
    }
    assert_eq!(
        paths,
        2 * 11,
        "data, pid_file, four of tls, policies, console_keys, operators, log.access, drills.check"
    );
}

/// A name is resolved where peers dial; everywhere else the error says what to write.
#[test]
fn a_host_name_is_taken_or_refused_in_words() {
    let (file, texts) = texts();
    let mut refused = Vec::new();
    for (path, text) in texts {
        if text.parse::<std::net::SocketAddr>().is_err() {
            continue;
        }
        match refusal_with(&file, &path, "host.example:7080") {
            Some(said) => {
                assert!(said.contains("is not IP:PORT, such as"), "{path:?}: {said}");
                refused.push(path.join("."));
            }
            None => assert_eq!(path.last().map(String::as_str), Some("address")),
        }
    }
    refused.sort();
    assert_eq!(refused, ["listen.admin", "listen.public", "listen.public_tls", "listen.replication"]);
}
