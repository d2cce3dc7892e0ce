//! The example loads and shows the defaults; an error in a file is named.

use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, HealthSection, PolicySection, RouterConfig, RouterFile};
use crate::dns::DnsSection;
use crate::edge::EdgeSection;

const EXAMPLE: &str = include_str!("../../../config/router.toml");

fn load(text: &str) -> Result<RouterConfig, ConfigError> {
    load_in(tempfile::tempdir().unwrap().path(), text)
}

fn load_in(folder: &Path, text: &str) -> Result<RouterConfig, ConfigError> {
    let path = folder.join("router.toml");
    std::fs::write(&path, text).unwrap();
    RouterConfig::load(&path)
}

fn refusal(text: &str) -> String {
    let error = load(text).expect_err("refused");
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[test]
fn the_example_is_good_and_shows_the_defaults() {
    let config = load(EXAMPLE).unwrap();
    assert_eq!(config.fleet.regions.len(), 3);
    assert_eq!(config.peers.len(), 2);
    assert_eq!(config.weakness(), None);
    let file: RouterFile = toml::from_str(EXAMPLE).unwrap();
    assert_eq!(file.health, HealthSection::default());
    assert_eq!(file.policy, PolicySection::default());
    let dns = file.dns.unwrap();
    let defaults = DnsSection::new(dns.listen, &dns.zone, &dns.service, dns.nameservers.clone());
    let shown = DnsSection { hostmaster: None, negative_ttl_s: None, ..dns };
    assert_eq!(shown, defaults);
    let edge = file.edge.unwrap();
    let mut shown = EdgeSection { trusted_proxies: Vec::new(), ..edge };
    shown.rate_limit.exempt.clear();
    assert_eq!(shown, EdgeSection::new(shown.listen));
}

/// Puts a bogus key into every table of the example, one after the other.
#[test]
fn an_unknown_key_is_refused_in_every_table() {
    fn tables(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        match value {
            Value::Table(table) => {
                found.push(path.clone());
                for (key, inner) in table {
                    path.push(key.clone());
                    tables(inner, path, found);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    path.push(index.to_string());
                    tables(inner, path, found);
                    path.pop();
                }
            }
            _ => {}
        }
    }
    let example: Table = EXAMPLE.parse().unwrap();
    let mut found = Vec::new();
    tables(&Value::Table(example.clone()), &mut Vec::new(), &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for path in found {
        let mut bogus = Value::Table(example.clone());
        let mut at = &mut bogus;
        for step in &path {
            at = match at {
                Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
                Value::Table(table) => table.get_mut(step).unwrap(),
                _ => unreachable!(),
            };
        }
        at.as_table_mut().unwrap().insert("bogus_key".into(), Value::Boolean(true));
        let words = refusal(&toml::to_string(&bogus).unwrap());
        // `[policy]` has exactly one table; a second key of any name is refused for that reason.
        let named = words.contains("bogus_key") || path == ["policy"];
        assert!(named, "{path:?}: {words}");
    }
}

#[test]
fn an_error_names_its_key() {
    let cases = [
        ("interval_ms = 1000", "interval_ms = 10", "health.interval_ms = 10"),
        ("latitude = 39.04", "latitude = 390.4", "regions[1].position.latitude = 390.4"),
        ("name = \"us-east\"\nposition", "name = \"eu-central\"\nposition", "regions[1].name = \"eu-central\""),
        ("[policy.nearest]", "[policy.spill]\nlimit = 1.5", "policy.spill.limit = 1.5"),
        ("[policy.nearest]", "[policy.failover]\norder = [\"us-east\"]", "\"eu-central\" is missing"),
        ("[policy.nearest]", "[policy.latency.table]\nGermany = {}", "policy.latency.table.Germany"),
        (
            "region = \"us-east\"\n\n[[location",
            "region = \"mars\"\n\n[[location",
            "location.overrides[0].region = \"mars\"",
        ),
        ("key_file = \"router-key\"\n", "", "peers.key_file"),
        ("name = \"router-2\"", "name = \"router-1\"", "peers.routers[0].name = \"router-1\""),
        ("weight = 1\n", "weight = 0\n", "regions[0].nodes.weight = 0"),
        ("listen = \"127.0.0.1:7082\"", "listen = \"127.0.0.1:7080\"", "edge.listen"),
        ("timeout_ms = 900", "timeout_ms = 5000", "health.timeout_ms = 5000"),
        ("http = \"127.0.1.2:7080\"", "http = \"0.0.0.0:7080\"", "regions[1].nodes.http = 0.0.0.0:7080"),
        ("listen = \"127.0.0.1:7053\"", "listen = \"0.0.0.0:7080\"", "dns.listen"),
        ("ttl_min_s = 5", "ttl_min_s = 500", "dns.ttl_min_s"),
        ("name = \"ap-southeast\"\nposition", "name = \"explain\"\nposition", "regions[2].name = \"explain\""),
    ];
    for (good, bad, wanted) in cases {
        assert!(EXAMPLE.contains(good), "{good}");
        let words = refusal(&EXAMPLE.replacen(good, bad, 1));
        assert!(words.contains(wanted), "{bad}: {words}");
    }
    let missing = RouterConfig::load(Path::new("/nowhere/router.toml")).expect_err("refused");
    assert!(matches!(missing, ConfigError::Read { .. }));
}

/// A running router takes up a part of a changed file, and leaves the rest for a restart.
#[test]
fn a_changed_file_is_taken_up_in_part_and_the_rest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let load = |text: &str| load_in(folder.path(), text);
    let running = load(EXAMPLE).unwrap();
    let (same, keys) = running.taking_up(load(EXAMPLE).unwrap());
    assert_eq!((&*same.fleet, keys), (&*running.fleet, Vec::new()));
    let taken = [
        ("ttl_min_s = 5", "ttl_min_s = 7"),
        ("negative_ttl_s = 5", "negative_ttl_s = 5"),
        ("http = \"127.0.1.3:7080\"", "http = \"127.0.1.4:7080\""),
        ("[policy.nearest]", "[policy.weighted]"),
        ("up_after = 5", "up_after = 6"),
        ("latitude = 48.14", "latitude = 47.14"),
        ("# database = \"geo/city.mmdb\"", "database = \"geo/city.mmdb\""),
    ];
    let left = [
        ("name = \"router-1\"", "name = \"router-9\"", "name"),
        ("region = \"eu-central\"\n# Folder", "# Folder", "region"),
        ("data = \"store\"", "data = \"other\"", "data"),
        ("listen = \"127.0.0.1:7082\"", "listen = \"127.0.0.1:9082\"", "admin.listen"),
        ("admin = \"127.0.0.3:7082\"", "admin = \"127.0.0.4:7082\"", "peers.routers"),
        ("zone = \"meridian.test\"", "zone = \"other.test\"", "dns.zone"),
        ("listen = \"127.0.0.1:7080\"", "listen = \"127.0.0.1:9080\"", "edge.listen"),
        ("body_kib = 64", "body_kib = 65", "edge.limits"),
        ("capacity_limit = 0.85", "capacity_limit = 0.5", "edge.capacity_limit"),
    ];
    let changed = |text: String, (good, bad): (&str, &str)| {
        assert!(text.contains(good), "{good}");
        text.replacen(good, bad, 1)
    };
    let text = taken.into_iter().fold(EXAMPLE.to_owned(), changed);
    let new = load(&text).unwrap();
    let (now, keys) = running.taking_up(load(&text).unwrap());
    assert_eq!(keys, Vec::<&str>::new());
    assert_eq!((&*now.fleet, now.health, &now.overrides), (&*new.fleet, new.health, &new.overrides));
    assert_eq!((now.ttl, now.database.is_some()), (new.ttl, true));
    assert_eq!(format!("{:?}", now.policy), "Weighted");
    for (good, bad, key) in left {
        let (now, keys) = running.taking_up(load(&changed(EXAMPLE.to_owned(), (good, bad))).unwrap());
        assert!(keys.contains(&key), "{key}: {keys:?}");
        assert_eq!((now.name, now.data, now.admin), (running.name.clone(), running.data.clone(), running.admin));
        assert_eq!((now.dns, now.peers), (running.dns.clone(), running.peers.clone()));
    }
}
