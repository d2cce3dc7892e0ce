//! The example loads and shows the defaults; an error in a file is named.

use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, HealthSection, PolicySection, RouterConfig, RouterFile};
use crate::dns::DnsSection;
use crate::edge::EdgeSection;

const EXAMPLE: &str = include_str!("../../../config/router.toml");

fn load(text: &str) -> Result<RouterConfig, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.toml");
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
    ];
    for (good, bad, wanted) in cases {
        assert!(EXAMPLE.contains(good), "{good}");
        let words = refusal(&EXAMPLE.replacen(good, bad, 1));
        assert!(words.contains(wanted), "{bad}: {words}");
    }
    let missing = RouterConfig::load(Path::new("/nowhere/router.toml")).expect_err("refused");
    assert!(matches!(missing, ConfigError::Read { .. }));
}
