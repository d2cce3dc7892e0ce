//! Which `[dns]` tables are accepted, and which are refused.

use std::path::Path;

use super::{DnsConfig, DnsConfigError, DnsSection};

const WHOLE: &str = r#"
listen = "127.0.0.1:0"
zone = "Meridian.test"
service = "checkin"
hostmaster = "dns.example.org"
threads = 2
ttl_min_s = 5
ttl_max_s = 60
static_ttl_s = 3600
negative_ttl_s = 10
edns_udp_size = 1232
connections = 100
[[nameservers]]
name = "ns1"
addresses = ["192.0.2.53", "2001:db8::53"]
[rate_limit]
responses_per_second = 0
slip = 2
exempt = ["127.0.0.0/8"]
[tls]
listen = "127.0.0.1:0"
certificate = "dns.pem"
key = "dns.key"
"#;

fn check(text: &str) -> Result<DnsConfig, DnsConfigError> {
    let section: DnsSection = toml::from_str(text).unwrap();
    DnsConfig::check(section, Path::new("/etc/meridian"))
}

#[test]
fn a_whole_table_is_checked_and_written_back() {
    let config = check(WHOLE).unwrap();
    assert_eq!(config.zone.to_ascii(), "meridian.test.");
    assert_eq!(config.service.to_ascii(), "checkin.meridian.test.");
    assert_eq!(config.nameservers[0].name.to_ascii(), "ns1.meridian.test.");
    assert_eq!(config.rate_limit.responses_per_second, None);
    assert_eq!(config.tls.unwrap().files.key, Path::new("/etc/meridian/dns.key"));
    let section: DnsSection = toml::from_str(WHOLE).unwrap();
    assert_eq!(toml::from_str::<DnsSection>(&toml::to_string(&section).unwrap()).unwrap(), section);
}

#[test]
fn most_keys_have_defaults() {
    let text =
        "listen = '[::1]:53'\nzone = 'a.test.'\nservice = 's'\nnameservers = [{ name = 'ns', addresses = ['::1'] }]";
    let config = check(text).unwrap();
    assert_eq!((config.ttl_min, config.ttl_max, config.negative_ttl, config.edns_udp_size), (5, 60, 5, 1_232));
    assert_eq!(config.hostmaster.to_ascii(), "hostmaster.a.test.");
    assert_eq!(config.rate_limit.exempt.len(), 2);
    assert!(config.threads.get() >= 1);
}

#[test]
fn unknown_keys_are_refused_in_every_table() {
    for table in ["listen =", "name =", "slip =", "key ="] {
        let text = WHOLE.replacen(table, &format!("bogus = 1\n{table}"), 1);
        let error = toml::from_str::<DnsSection>(&text).unwrap_err();
        assert!(error.to_string().contains("bogus"), "{table}: {error}");
    }
}

#[test]
fn an_invalid_value_is_refused_with_its_key() {
    for (from, to, key) in [
        ("ttl_min_s = 5", "ttl_min_s = 61", "dns.ttl_min_s"),
        ("ttl_min_s = 5", "ttl_min_s = 0", "dns.ttl_min_s"),
        ("edns_udp_size = 1232", "edns_udp_size = 511", "dns.edns_udp_size"),
        ("threads = 2", "threads = 1000", "dns.threads"),
        ("\"checkin\"", "\"check_in\"", "dns.service"),
        ("\"checkin\"", "\"\"", "dns.service"),
        ("\"ns1\"", "\"checkin\"", "dns.nameservers"),
        ("\"ns1\"", "\"a.checkin\"", "dns.nameservers"),
        ("\"Meridian.test\"", "\"a..test\"", "dns.zone"),
        ("[\"192.0.2.53\", \"2001:db8::53\"]", "[]", "dns.nameservers"),
        ("key = \"dns.key\"", "key = \"\"", "dns.tls.key"),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let error = check(&WHOLE.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(key), "{to}: {error}");
    }
}
