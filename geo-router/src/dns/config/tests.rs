//! Which `[dns]` tables are accepted, and which are refused.

use std::path::Path;

use super::{DnsConfig, DnsConfigError, DnsSection};
use crate::dns::create_key;

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
nsid = "ns1-fra"
regions_per_answer = 4
edns_udp_size = 1232
explain_to = ["10.0.0.0/8"]
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

fn with_records(records: &str) -> Result<DnsConfig, DnsConfigError> {
    check(&WHOLE.replace("[[nameservers]]", &format!("records = [{records}]\n[[nameservers]]")))
}

#[test]
fn records_are_read_as_in_a_zone_file() {
    let config = with_records(
        r#"{ name = "@", type = "CAA", value = '0 issue "ca.example"', ttl_s = 60 },
           { name = "@", type = "caa", value = '0 iodef "mailto:a@b.example"', ttl_s = 60 },
           { name = "_acme-challenge.CheckIn", type = "CNAME", value = "x.acme.example." },
           { name = "checkin", type = "HTTPS", value = '1 . alpn="h2"' }"#,
    );
    let records = config.unwrap().records;
    let names: Vec<_> =
        records.iter().map(|set| (set.name.to_ascii(), set.kind.to_string(), set.ttl, set.data.len())).collect();
    let expected = [
        ("meridian.test.", "CAA", 60, 2),
        ("checkin.meridian.test.", "HTTPS", 3_600, 1),
        ("_acme-challenge.checkin.meridian.test.", "CNAME", 3_600, 1),
    ];
    for (name, kind, ttl, count) in expected {
        assert!(names.contains(&(name.to_owned(), kind.to_owned(), ttl, count)), "{name} {kind}: {names:?}");
    }
    assert_eq!(names.len(), 3);
}

#[test]
fn a_record_that_the_zone_cannot_have_is_refused_with_the_reason() {
    let record =
        |name: &str, kind: &str, value: &str| format!("{{ name = '{name}', type = '{kind}', value = '{value}' }}");
    for (records, why) in [
        (record("a..b", "TXT", "x"), "not one within the zone"),
        (record("a", "PTR", "b.example."), "its type is none of"),
        (record("a", "A", "192.0.2.256"), "cannot be read"),
        (record("a", "CNAME", "b"), "does not end with a dot"),
        (record("a", "MX", "10 b"), "does not end with a dot"),
        (record("checkin", "A", "192.0.2.1"), "those of its regions"),
        (record("checkin", "CNAME", "b.example."), "those of its regions"),
        (record("@", "CNAME", "b.example."), "cannot be an alias"),
        (record("ns1", "TXT", "x"), "that of a name server"),
        (record("explain.checkin", "TXT", "x"), "explains where"),
        ([record("a", "TXT", "x"), record("a", "TXT", "x")].join(","), "there twice"),
        ([record("a", "CNAME", "b.example."), record("a", "CNAME", "c.example.")].join(","), "another CNAME"),
        ([record("a", "CNAME", "b.example."), record("a", "TXT", "x")].join(","), "must stand alone"),
    ] {
        let error = with_records(&records).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("dns.records"), "{records}: {error}");
    }
    let ds = format!("55648 13 2 {}", "B4".repeat(32));
    let [a, b] = ["a", "x.a"].map(|name| record(name, "NS", "ns.other.example."));
    for (records, why) in [
        (record("@", "NS", "ns.example."), "dns.nameservers"),
        (record("checkin", "NS", "ns.example."), "the service is at or below"),
        (record("ns1", "NS", "ns.example."), "a name server of this zone"),
        (record("a", "NS", "ns"), "does not end with a dot"),
        ([a.clone(), b].join(","), "below another delegation"),
        ([a.clone(), record("a", "TXT", "x")].join(","), "not the address of one of its name servers"),
        ([a.clone(), record("x.a", "CNAME", "b.example.")].join(","), "not the address of one of its name servers"),
        ([a.clone(), record("ns.a", "A", "192.0.2.7")].join(","), "not the address of one of its name servers"),
        (record("a", "DS", &ds), "its name is not delegated"),
        ([a.clone(), record("b.a", "DS", &ds)].join(","), "its name is not delegated"),
        (record("a", "DS", "7 13 2 zz"), "cannot be read"),
        (record("a", "NS", "ns.A.meridian.test."), "has no A or AAAA record"),
        (record("a", "NS", "a.meridian.test."), "has no A or AAAA record"),
    ] {
        let error = with_records(&records).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("dns.records"), "{records}: {error}");
    }
    let long = |at: usize| format!("a{at}.{}.{0}.{0}.a", "x".repeat(63));
    let servers = (0..75).map(|at| {
        let server = record("a", "NS", &format!("{}.meridian.test.", long(at)));
        [server, record(&long(at), "A", "192.0.2.7"), record(&long(at), "AAAA", "2001:db8::7")].join(",")
    });
    let error = with_records(&servers.collect::<Vec<_>>().join(",")).unwrap_err().to_string();
    assert!(error.contains("longer than 32 KiB"), "{error}");
    // The same octets inside of a label are another name.
    assert!(with_records(&record("a", "NS", "xa.meridian.test.")).is_ok());
    assert!(with_records(&[a.clone(), record("a", "DS", &ds)].join(",")).is_ok());
    let glue = [record("a", "NS", "Ns.a.meridian.test."), record("ns.a", "AAAA", "2001:db8::7")].join(",");
    assert!(with_records(&glue).is_ok());
    let region = with_records(&record("us-east.checkin", "NS", "ns.example.")).unwrap();
    assert!(!region.takes_region(&"us-east".parse().unwrap()));
    let ttls =
        "{ name = 'a', type = 'TXT', value = 'x', ttl_s = 1 }, { name = 'a', type = 'TXT', value = 'y', ttl_s = 2 }";
    assert!(with_records(ttls).unwrap_err().to_string().contains("another ttl_s"));
    let config = with_records(&record("us-east.checkin", "TXT", "x")).unwrap();
    assert!(!config.takes_region(&"us-east".parse().unwrap()) && config.takes_region(&"eu".parse().unwrap()));
}

#[test]
fn the_service_may_be_the_zone_itself() {
    let config = check(&WHOLE.replace("\"checkin\"", "\"@\"")).unwrap();
    assert_eq!(config.service, config.zone);
    assert!(!config.takes_region(&"ns1".parse().unwrap()) && config.takes_region(&"us-east".parse().unwrap()));
    let explain = WHOLE.replace("\"checkin\"", "\"@\"").replace("\"ns1\"", "\"explain\"");
    assert!(check(&explain).is_err());
}

#[test]
fn most_keys_have_defaults() {
    let text =
        "listen = '[::1]:53'\nzone = 'a.test.'\nservice = 's'\nnameservers = [{ name = 'ns', addresses = ['::1'] }]";
    let config = check(text).unwrap();
    assert_eq!((config.ttl_min, config.ttl_max, config.negative_ttl, config.edns_udp_size), (5, 60, 5, 1_232));
    assert_eq!(config.hostmaster.to_ascii(), "hostmaster.a.test.");
    assert_eq!((config.regions_per_answer, config.nsid.as_str()), (1, ""));
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
        ("regions_per_answer = 4", "regions_per_answer = 5", "dns.regions_per_answer"),
        ("regions_per_answer = 4", "regions_per_answer = 0", "dns.regions_per_answer"),
        ("\"ns1-fra\"", "\"a b\"", "dns.nsid"),
        ("ns1-fra", &"x".repeat(65), "dns.nsid"),
        ("edns_udp_size = 1232", "edns_udp_size = 511", "dns.edns_udp_size"),
        ("threads = 2", "threads = 1000", "dns.threads"),
        ("\"checkin\"", "\"check_in\"", "dns.service"),
        ("\"checkin\"", "\"\"", "dns.service"),
        ("\"ns1\"", "\"checkin\"", "dns.nameservers"),
        ("\"ns1\"", "\"a.checkin\"", "dns.nameservers"),
        ("\"Meridian.test\"", "\"a..test\"", "dns.zone"),
        ("[\"192.0.2.53\", \"2001:db8::53\"]", "[]", "dns.nameservers"),
        ("slip = 2", "slip = 101", "dns.rate_limit.slip"),
        ("nsid = ", "cookie_secret_file = \"nowhere\"\nnsid = ", "dns.cookie_secret_file"),
        ("nsid = ", "dnssec_keys = [\"nowhere\"]\nnsid = ", "dns.dnssec_keys"),
        ("nsid = ", "dnssec_keys = [\"~/a\"]\nnsid = ", "dns.dnssec_keys"),
        ("nsid = ", "cookie_secret_file = \"~/a\"\nnsid = ", "dns.cookie_secret_file"),
        ("key = \"dns.key\"", "key = \"\"", "dns.tls.key"),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let error = check(&WHOLE.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(key), "{to}: {error}");
    }
}

#[test]
fn keys_of_a_zone_are_different_private_keys_that_only_their_user_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let with_keys = |names: &[&str]| {
        let paths: Vec<_> = names.iter().map(|name| at(name)).collect();
        check(&WHOLE.replacen("nsid = ", &format!("dnssec_keys = {paths:?}\nnsid = "), 1))
    };
    create_key(&at("key")).unwrap();
    assert!(create_key(&at("key")).is_err(), "a key is never written over");
    let config = with_keys(&["key"]).unwrap();
    let [key] = &config.keys().unwrap()[..] else { panic!("one key") };
    assert!(key.signs && key.ds.starts_with(&format!("meridian.test. IN DS {} 13 2 ", key.tag)), "{key:?}");
    assert!(key.dnskey.starts_with("meridian.test. IN DNSKEY 257 3 13 "), "{key:?}");
    assert_eq!(check(WHOLE).unwrap().keys().unwrap(), []);

    std::fs::write(at("text"), "no key").unwrap();
    std::fs::write(at("other"), rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem()).unwrap();
    std::fs::copy(at("key"), at("open")).unwrap();
    for (name, mode) in [("text", 0o600), ("other", 0o600), ("open", 0o644)] {
        std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    for (names, why) in [
        (&["key", "text"][..], "must hold a private key of ECDSA"),
        (&["other"], "must hold a private key of ECDSA"),
        (&["open"], "can be read by other users"),
        (&["key", "key"], "the same key"),
        (&["key"; 4], "more than 3 keys"),
    ] {
        let error = with_keys(names).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string() == "dns.dnssec_keys" && cause.contains(why), "{names:?}: {cause}");
    }
}
