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
    words(&load(text).expect_err("refused"))
}

fn words(error: &ConfigError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
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
    let defaults = DnsSection::new(dns.listen.first(), &dns.zone, &dns.service, dns.nameservers.clone());
    let shown = DnsSection { hostmaster: None, negative_ttl_s: None, ..dns };
    assert_eq!(shown, defaults);
    let edge = file.edge.unwrap();
    let mut shown = EdgeSection { trusted_proxies: Vec::new(), ..edge };
    shown.rate_limit.exempt.clear();
    assert_eq!(shown, EdgeSection::new(shown.listen.first()));
}

/// Every text in the example with the tables that it only mentions: the path to it, and the text.
fn texts() -> (Value, Vec<(Vec<String>, String)>) {
    fn look(value: &Value, path: &[String], found: &mut Vec<(Vec<String>, String)>) {
        let mut child = |key: String, value: &Value| look(value, &[path, &[key]].concat(), found);
        match value {
            Value::Table(table) => table.iter().for_each(|(key, value)| child(key.clone(), value)),
            Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| child(i.to_string(), item)),
            Value::String(text) => found.push((path.to_vec(), text.clone())),
            _ => {}
        }
    }
    let mut file: Table = EXAMPLE.parse().unwrap();
    let more: Table = r#"
        admin.operators = "operators.toml"
        log.access = "access.log"
        location.database = "city.mmdb"
        edge.secret_file = "key"
        dns.cookie_secret_file = "cookies"
        dns.dnssec_keys = ["zone-key"]
        edge.tls = { listen = "127.0.0.1:7443", certificate = "a.pem", key = "a.key" }
        dns.tls = { listen = "127.0.0.1:7853", certificate = "a.pem", key = "a.key" }
        nodes = { ca = "ca.pem", revoked = "crl.pem", resolvers = ["192.0.2.53:53"] }
    "#
    .parse()
    .unwrap();
    for (table, keys) in more {
        let Value::Table(keys) = keys else { unreachable!() };
        file[&table].as_table_mut().unwrap().extend(keys);
    }
    let mut found = Vec::new();
    look(&Value::Table(file.clone()), &[], &mut found);
    (Value::Table(file), found)
}

/// The error of the example file with another text at `path`.
fn refusal_with(file: &Value, path: &[String], text: &str) -> String {
    let mut file = file.clone();
    let place = path.iter().fold(&mut file, |value, key| match value {
        Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        other => &mut other[key.as_str()],
    });
    *place = text.into();
    // The edge and DNS read their keys when the file is checked.
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("key", 32), ("cookies", 16)] {
        let key = folder.path().join(name);
        std::fs::write(&key, "00".repeat(bytes)).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    crate::dns::create_key(&folder.path().join("zone-key")).unwrap();
    words(&load_in(folder.path(), &toml::to_string(&file).unwrap()).expect_err("refused"))
}

#[test]
fn no_key_takes_a_path_that_only_a_shell_understands() {
    let (file, texts) = texts();
    let mut paths = 0;
    for (path, _) in texts {
        for shell in ["~/x", "$HOME/x"] {
            paths += usize::from(refusal_with(&file, &path, shell).contains("write the whole path"));
        }
    }
    assert_eq!(paths, 2 * 15, "data, pid_file, operators, log.access, database, four secrets and six of TLS");
}

#[test]
fn a_host_name_is_refused_in_words() {
    let (file, texts) = texts();
    let mut found = [0; 3];
    for (path, text) in texts {
        if path.last().is_some_and(|key| key == "https") {
            found[2] += 1;
            let said = refusal_with(&file, &path, "host.example");
            assert!(said.contains("must be host:port, such as"), "{path:?}: {said}");
        } else if text.parse::<std::net::SocketAddr>().is_ok() {
            found[0] += 1;
            let said = refusal_with(&file, &path, "host.example:7080");
            assert!(said.contains("is not IP:PORT, such as"), "{path:?}: {said}");
        } else if text.parse::<std::net::IpAddr>().is_ok() {
            found[1] += 1;
            let said = refusal_with(&file, &path, "host.example");
            assert!(said.contains("is not an IP address, such as"), "{path:?}: {said}");
        }
    }
    assert_eq!(
        found,
        [8, 2, 3],
        "five listeners, two routers, a resolver; addresses of a name server and of a node; nodes"
    );
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
        ("https = \"127.0.1.2:7083\"", "https = \"0.0.0.0:7083\"", "regions[1].nodes.https = 0.0.0.0:7083"),
        ("https = \"127.0.1.2:7083\"", "", "regions[1].nodes: give either `https` (TLS) or `http`, not neither"),
        ("https = \"127.0.1.2:7083\"", "https = \"a:1\"\nhttp = \"a:2\"", "regions[1].nodes: give either"),
        ("https = \"127.0.1.2:7083\"", "http = \"a:1\"\nserver_name = \"a\"", "regions[1].nodes.server_name = \"a\""),
        ("server_name = \"eu-central\"", "server_name = \"a b\"", "regions[0].nodes.server_name = \"a b\""),
        ("# revoked = ", "revoked = ", "nodes.revoked"),
        ("resolve_every_s = 5", "resolve_every_s = 0", "nodes.resolve_every_s = 0"),
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
        ("https = \"127.0.1.3:7083\"", "https = \"127.0.1.4:7083\""),
        ("resolve_every_s = 5", "resolve_every_s = 6"),
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
        ("# access = \"access.log\"", "access = \"access.log\"", "log.access"),
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
    assert_eq!((&now.nodes, now.nodes.resolve.every), (&new.nodes, std::time::Duration::from_secs(6)));
    assert_eq!((now.ttl, now.database.is_some()), (new.ttl, true));
    assert_eq!(format!("{:?}", now.policy), "Weighted");
    let secrets = [
        ("# secret_file = \"router-key\"", "secret_file", 64, "edge.secret_file"),
        ("# cookie_secret_file = \"dns-cookies\"", "cookie_secret_file", 32, "dns.cookie_secret_file"),
    ];
    for (commented, key, digits, named) in secrets {
        let with = |digit: &str| {
            let path = folder.path().join(key);
            std::fs::write(&path, digit.repeat(digits)).unwrap();
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            load(&changed(EXAMPLE.to_owned(), (commented, &format!("{key} = \"{key}\"")))).unwrap()
        };
        let with_key = with("a");
        assert_eq!(running.taking_up(with_key.clone()).1, [named]);
        assert_eq!(with_key.taking_up(with("a")).1, Vec::<&str>::new());
        assert_eq!(with_key.taking_up(with("b")).1, [named]);
    }
    for (good, bad, key) in left {
        let (now, keys) = running.taking_up(load(&changed(EXAMPLE.to_owned(), (good, bad))).unwrap());
        assert!(keys.contains(&key), "{key}: {keys:?}");
        assert_eq!(
            (now.name, now.data, now.admin),
            (running.name.clone(), running.data.clone(), running.admin.clone())
        );
        assert_eq!((now.dns, now.peers), (running.dns.clone(), running.peers.clone()));
    }
}

#[test]
fn dns_tells_the_name_of_the_router_unless_it_has_another_one() {
    let nsid = |line: &str| load(&EXAMPLE.replace("# nsid = \"router-1\"\n", line)).unwrap().dns.unwrap().nsid;
    for (line, told) in [("", "router-1"), ("nsid = \"fra-1\"\n", "fra-1"), ("nsid = \"\"\n", "")] {
        assert_eq!(nsid(line), told);
    }
}
