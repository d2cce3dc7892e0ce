//! `[edge]` tables that are accepted or refused.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{EdgeConfig, EdgeSection};

const LISTEN: &str = "listen = \"127.0.0.1:0\"\n";

fn check(more: &str) -> Result<EdgeConfig, String> {
    let section: EdgeSection = toml::from_str(&format!("{LISTEN}{more}")).map_err(|error| error.to_string())?;
    EdgeConfig::check(section, Path::new("/base")).map_err(|error| error.to_string())
}

#[test]
fn listen_alone_is_enough_and_defaults_survive_being_written() {
    let section: EdgeSection = toml::from_str(LISTEN).unwrap();
    assert_eq!(section, EdgeSection::new("127.0.0.1:0".parse().unwrap()));
    let written = toml::to_string(&section).unwrap();
    assert_eq!(toml::from_str::<EdgeSection>(&written).unwrap(), section);
    let config = check("").unwrap();
    assert_eq!(config.limits.body, 64 << 10);
    assert!(config.rate_limit.is_none() && config.cache.is_some());
}

#[test]
fn an_unknown_key_is_refused_in_every_table() {
    for table in ["", "[limits]\n", "[timeouts]\n", "[retry]\n", "[breaker]\n", "[rate_limit]\n", "[cache]\n"] {
        let error = check(&format!("{table}bogus = 1")).unwrap_err();
        assert!(error.contains("bogus"), "{table}: {error}");
    }
    let tls = "[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"c\"\nkey = \"k\"\nbogus = 1";
    assert!(check(tls).unwrap_err().contains("bogus"));
}

#[test]
fn a_value_out_of_bounds_is_named_by_its_key() {
    for (more, key) in [
        ("[limits]\nbody_kib = 15", "edge.limits.body_kib"),
        ("[limits]\nhead_kib = 4", "edge.limits.head_kib"),
        ("[limits]\nconnections = 0", "edge.limits.connections"),
        ("[timeouts]\nanswer_ms = 0", "edge.timeouts.answer_ms"),
        ("[retry]\nattempts = 0", "edge.retry.attempts"),
        ("[breaker]\nratio = nan", "edge.breaker.ratio"),
        ("[breaker]\nabove_others = 0.0", "edge.breaker.above_others"),
        ("[breaker]\nmost_excluded = 1.1", "edge.breaker.most_excluded"),
        ("[breaker]\nopen_ms = 5000\nopen_max_ms = 4000", "edge.breaker.open_max_ms"),
        ("[rate_limit]\nburst = 0", "edge.rate_limit.burst"),
        ("[cache]\nmax_object_kib = 0", "edge.cache.max_object_kib"),
        ("hedge_after_ms = 5", "edge.hedge_after_ms"),
        ("capacity_limit = 1.5", "edge.capacity_limit"),
        ("name = \"two words\"", "edge.name"),
        ("secret_file = \"nowhere\"", "edge.secret_file"),
    ] {
        let error = check(more).unwrap_err();
        assert!(error.starts_with(key), "{more}: {error}");
    }
}

#[test]
fn both_listeners_on_one_address_are_refused_and_paths_count_from_the_file() {
    let tls = |port| format!("[tls]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"");
    let same = format!("listen = \"127.0.0.1:7443\"\n{}", tls(7443));
    let section: EdgeSection = toml::from_str(&same).unwrap();
    assert!(EdgeConfig::check(section, Path::new("/")).unwrap_err().to_string().starts_with("edge.tls.listen"));
    let (_, files) = check(&tls(0)).unwrap().tls.unwrap();
    assert_eq!(files.certificate, Path::new("/base/c.pem"));
}

#[test]
fn a_secret_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let file = format!("secret_file = {:?}", path.to_str().unwrap());
    std::fs::write(&path, "00".repeat(32) + "\n").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(check(&file).unwrap_err().starts_with("edge.secret_file"), "others can read it");
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(check(&file).is_ok());
    std::fs::write(&path, "short").unwrap();
    assert!(check(&file).unwrap_err().starts_with("edge.secret_file"));
}
