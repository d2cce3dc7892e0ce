//! The keys of a signed zone on the command line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::MERIDIAN;

fn dnssec(arguments: &[&str], file: &Path) -> Output {
    Command::new(MERIDIAN).arg("dnssec").args(arguments).arg(file).output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

#[test]
fn a_key_is_made_and_its_ds_record_shown() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("zone.pem");
    assert!(dnssec(&["key", "--file"], &key).status.success());
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let again = dnssec(&["key", "--file"], &key);
    assert_eq!(again.status.code(), Some(1), "a key is never written over");

    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/router.toml")).unwrap();
    let config = folder.path().join("router.toml");
    std::fs::write(&config, &example).unwrap();
    let unsigned = dnssec(&["ds", "--config"], &config);
    assert_eq!(unsigned.status.code(), Some(2));
    assert!(text(&unsigned.stderr).contains("dns.dnssec_keys"), "{unsigned:?}");

    let changed = example.replacen("[dns]\n", "[dns]\ndnssec_keys = [\"zone.pem\"]\n", 1);
    assert_ne!(changed, example);
    std::fs::write(&config, changed).unwrap();
    let shown = dnssec(&["ds", "--config"], &config);
    assert!(shown.status.success(), "{shown:?}");
    let shown = text(&shown.stdout);
    let json = dnssec(&["ds", "--json", "--config"], &config);
    let keys: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((keys[0]["signs"].as_bool(), keys.as_array().unwrap().len()), (Some(true), 1));
    for record in ["ds", "dnskey"] {
        let record = keys[0][record].as_str().unwrap();
        assert!(record.starts_with("meridian.test. IN D") && shown.lines().any(|line| line == record), "{shown}");
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(dnssec(&["ds", "--config"], &config).status.code(), Some(2), "others can read the key");
}
