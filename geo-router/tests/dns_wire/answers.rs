//! The records of each name, over every transport.

use std::net::IpAddr;

use geo_router::dns::Answers;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use crate::craft::{self, A, AAAA, ANY, AXFR, IXFR, MX, NS, SOA, TXT};
use crate::streams::{self, Client};
use crate::world::{self, AP, EU, UP, US, US_DOWN, ask, snapshot};

fn resolve(query: &[u8]) -> Message {
    let from: IpAddr = "127.0.0.1".parse().unwrap();
    let (_, octets) = ask(&snapshot(UP), from, query).unwrap();
    Message::from_vec(&octets).unwrap()
}

fn texts(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn addresses(region: usize) -> Vec<String> {
    (1..=2).map(|node| format!("192.0.2.{}", 16 * (region + 1) + node)).collect()
}

#[test]
fn a_client_gets_its_region_by_subnet_else_by_resolver() {
    let told = craft::edns("checkin.meridian.test", A, &craft::subnet(1, 24, 0, &[10, 1, 2]));
    let nothing_told = craft::edns("checkin.meridian.test", A, &craft::subnet(1, 0, 0, &[]));
    assert_eq!(texts(&resolve(&told)), addresses(US));
    assert_eq!(texts(&resolve(&nothing_told)), addresses(EU));
    assert_eq!(texts(&resolve(&craft::plain("checkin.meridian.test", A))), addresses(EU));
    let clothes: IpAddr = "::ffff:11.0.0.1".parse().unwrap();
    let (_, octets) = ask(&snapshot(UP), clothes, &craft::plain("checkin.meridian.test", A)).unwrap();
    assert_eq!(texts(&Message::from_vec(&octets).unwrap()), addresses(AP));
    let v6 = resolve(&craft::plain("checkin.meridian.test", AAAA));
    assert_eq!(texts(&v6), ["2001:db8::1:1", "2001:db8::1:2"]);
    assert!(v6.metadata.authoritative && v6.answers.iter().all(|record| record.ttl == 30));
}

#[test]
fn a_region_that_is_down_is_not_answered() {
    let (answered, octets) =
        ask(&snapshot(US_DOWN), [10, 1, 2, 3].into(), &craft::plain("checkin.meridian.test", A)).unwrap();
    assert_ne!(texts(&Message::from_vec(&octets).unwrap()), addresses(US));
    assert_eq!(answered.routed.unwrap().reason.name(), "failover");
    // The region's own name still leads there, because drills and probes ask for it.
    let own = resolve(&craft::plain("us-east.checkin.meridian.test", A));
    assert_eq!(texts(&own), addresses(US));
}

#[test]
fn every_name_has_what_it_should() {
    let cases: [(&str, u16, ResponseCode, usize, bool); 22] = [
        ("meridian.test", SOA, ResponseCode::NoError, 1, false),
        ("meridian.test", NS, ResponseCode::NoError, 1, false),
        ("meridian.test", A, ResponseCode::NoError, 0, true),
        ("ns1.meridian.test", A, ResponseCode::NoError, 1, false),
        ("ns1.meridian.test", AAAA, ResponseCode::NoError, 1, false),
        ("ns1.meridian.test", TXT, ResponseCode::NoError, 0, true),
        ("checkin.meridian.test", MX, ResponseCode::NoError, 0, true),
        ("checkin.meridian.test", TXT, ResponseCode::NoError, 0, true),
        ("checkin.meridian.test", ANY, ResponseCode::NoError, 1, false),
        ("ap-south.checkin.meridian.test", AAAA, ResponseCode::NoError, 2, false),
        ("explain.checkin.meridian.test", TXT, ResponseCode::NoError, 1, false),
        ("explain.checkin.meridian.test", A, ResponseCode::NoError, 0, true),
        ("nowhere.checkin.meridian.test", A, ResponseCode::NXDomain, 0, true),
        ("x.ns1.meridian.test", A, ResponseCode::NXDomain, 0, true),
        ("www.meridian.test", A, ResponseCode::NXDomain, 0, true),
        ("www.meridian.test", ANY, ResponseCode::NXDomain, 0, true),
        ("meridian.test", AXFR, ResponseCode::Refused, 0, false),
        ("meridian.test", IXFR, ResponseCode::Refused, 0, false),
        ("example.org", A, ResponseCode::Refused, 0, false),
        ("test", SOA, ResponseCode::Refused, 0, false),
        ("xmeridian.test", A, ResponseCode::Refused, 0, false),
        ("", NS, ResponseCode::Refused, 0, false),
    ];
    for (name, kind, code, answers, start) in cases {
        let message = resolve(&craft::plain(name, kind));
        assert_eq!(message.metadata.response_code, code, "{name} {kind}");
        assert_eq!(message.answers.len(), answers, "{name} {kind}");
        assert_eq!(message.metadata.authoritative, code != ResponseCode::Refused, "{name} {kind}");
        let authority: Vec<_> = message
            .authorities
            .iter()
            .map(|record| (record.name.to_ascii(), record.record_type(), record.ttl))
            .collect();
        let expected = ("meridian.test.".to_owned(), RecordType::SOA, 5);
        assert_eq!(authority, if start { vec![expected] } else { vec![] }, "{name} {kind}");
    }
    let servers = resolve(&craft::plain("meridian.test", NS));
    assert_eq!(texts(&servers), ["ns1.meridian.test."]);
    assert_eq!(servers.additionals.len(), 2);
    let start = texts(&resolve(&craft::plain("meridian.test", SOA)));
    assert_eq!(start, ["ns1.meridian.test. hostmaster.meridian.test. 1 3600 600 604800 5"]);
    assert!(texts(&resolve(&craft::plain("meridian.test", ANY)))[0].contains("RFC8482"));
}

/// RFC 8906, sections 3.1.3 and 8.1.4: of the flags of a query only "recursion desired" comes back.
#[test]
fn no_flag_of_a_query_comes_back_that_means_nothing_in_an_answer() {
    let (truncated, recursion, checking) = (0x0200, 0x0100, 0x0010);
    // AA, TC, RD, RA, Z, AD and CD.
    for flags in [0, 0x07F0, truncated, recursion, checking, recursion | checking] {
        for operation in 0..16_u16 {
            let query = [craft::header(operation << 11 | flags, [1, 0, 0, 0]), craft::question("meridian.test", SOA)];
            let (_, octets) = ask(&snapshot(UP), [127, 0, 0, 1].into(), &query.concat()).unwrap();
            let expected = match operation {
                0 => 0x8400 | flags & recursion,
                _ => 0x8000 | operation << 11 | flags & recursion | 4,
            };
            assert_eq!(u16::from_be_bytes([octets[2], octets[3]]), expected, "{operation} {flags:04x}");
        }
    }
}

#[test]
fn names_inside_of_labels_are_not_the_zone() {
    // One label that contains the octets of the zone's name.
    let mut name = vec![22_u8];
    name.extend_from_slice(b"abcdefg\x08meridian\x04test");
    name.insert(name.len(), 0);
    name[0] = (name.len() - 2) as u8;
    let query = [craft::header(0, [1, 0, 0, 0]), name, vec![0, 1, 0, 1]].concat();
    assert_eq!(resolve(&query).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn empty_names_on_the_way_to_others_exist() {
    let config = world::config("").clone();
    let mut section = config;
    section.service = "in.the.check.meridian.test.".parse().unwrap();
    let answers = geo_router::dns::Answers::build(&section, world::view(UP, 30), world::TIME).unwrap();
    for name in ["check.meridian.test", "THE.check.meridian.test"] {
        let (_, octets) = ask(&answers, [127, 0, 0, 1].into(), &craft::plain(name, A)).unwrap();
        let message = Message::from_vec(&octets).unwrap();
        assert_eq!((message.metadata.response_code, message.authorities.len()), (ResponseCode::NoError, 1), "{name}");
    }
}

#[test]
fn an_explanation_is_about_whose_subnet_was_told() {
    let query = craft::edns("explain.checkin.meridian.test", TXT, &craft::subnet(1, 24, 0, &[10, 1, 2]));
    let (_, octets) = ask(&snapshot(US_DOWN), [127, 0, 0, 1].into(), &query).unwrap();
    let message = Message::from_vec(&octets).unwrap();
    assert_eq!(message.answers[0].ttl, 0);
    let text = &texts(&message)[0];
    for part in ["from=client-subnet", "client=10.", "reason=failover", "us-east state=down"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let by_resolver = resolve(&craft::plain("explain.checkin.meridian.test", TXT));
    assert!(texts(&by_resolver)[0].contains("from=resolver"));
}

fn with_records() -> Answers {
    let more = r#"records = [
        { name = "@", type = "CAA", value = '0 issue "ca.example"' },
        { name = "@", type = "MX", value = "10 mail.example." },
        { name = "checkin", type = "TXT", value = '"one text"', ttl_s = 77 },
        { name = "_acme-challenge.checkin", type = "CNAME", value = "x.acme.example." },
        { name = "www", type = "AAAA", value = "2001:db8::80" },
        { name = "a.b", type = "TXT", value = "deep" },
    ]"#;
    Answers::build(&world::config(more), world::view(UP, 30), world::TIME).unwrap()
}

#[test]
fn static_records_stand_beside_what_depends_on_the_client() {
    let answers = with_records();
    let resolve = |name: &str, kind: u16| {
        let (_, octets) = ask(&answers, [127, 0, 0, 1].into(), &craft::plain(name, kind)).unwrap();
        Message::from_vec(&octets).unwrap()
    };
    let cases: [(&str, RecordType, &[&str]); 9] = [
        ("meridian.test", RecordType::CAA, &["0 issue \"ca.example\""]),
        ("meridian.test", RecordType::MX, &["10 mail.example."]),
        ("meridian.test", RecordType::NS, &["ns1.meridian.test."]),
        ("CHECKIN.meridian.test", RecordType::TXT, &["one text"]),
        ("checkin.meridian.test", RecordType::A, &["192.0.2.17", "192.0.2.18"]),
        // An alias is the answer for every type.
        ("_acme-challenge.checkin.meridian.test", RecordType::TXT, &["x.acme.example."]),
        ("_acme-challenge.checkin.meridian.test", RecordType::CNAME, &["x.acme.example."]),
        ("www.meridian.test", RecordType::AAAA, &["2001:db8::80"]),
        ("a.b.meridian.test", RecordType::TXT, &["deep"]),
    ];
    for (name, kind, expected) in cases {
        let said = resolve(name, kind.into());
        assert_eq!(
            (said.metadata.response_code, texts(&said)),
            (ResponseCode::NoError, own(expected)),
            "{name} {kind}"
        );
        assert!(said.metadata.authoritative);
    }
    assert_eq!(resolve("checkin.meridian.test", TXT).answers[0].ttl, 77);
    // A name between two others exists and has nothing (RFC 8020).
    let between = resolve("b.meridian.test", A);
    assert_eq!((between.metadata.response_code, between.answers.len()), (ResponseCode::NoError, 0));
    let other = resolve("www.meridian.test", A);
    assert_eq!((other.metadata.response_code, other.authorities.len()), (ResponseCode::NoError, 1));
}

#[test]
fn the_zone_itself_may_be_the_service() {
    let config = world::config_of("@", "records = [{ name = '@', type = 'TXT', value = 'x' }]");
    let answers = Answers::build(&config, world::view(UP, 30), world::TIME).unwrap();
    let resolve = |name: &str, kind: u16| {
        let (_, octets) = ask(&answers, [127, 0, 0, 1].into(), &craft::plain(name, kind)).unwrap();
        Message::from_vec(&octets).unwrap()
    };
    assert_eq!(texts(&resolve("meridian.test", A)), addresses(EU));
    assert_eq!(texts(&resolve("us-east.meridian.test", A)), addresses(US));
    assert_eq!(texts(&resolve("meridian.test", TXT)), ["x"]);
    for (kind, count) in [(SOA, 1), (NS, 1), (MX, 0)] {
        assert_eq!(resolve("meridian.test", kind).answers.len(), count, "{kind}");
    }
    assert!(texts(&resolve("explain.meridian.test", TXT))[0].contains("region="));
    assert_eq!(resolve("nowhere.meridian.test", A).metadata.response_code, ResponseCode::NXDomain);
}

/// The address that asks decides, not the client's subnet, which anybody can make up.
#[test]
fn explanations_may_be_for_some_networks_only() {
    let client = craft::subnet(1, 24, 0, &[10, 1, 2]);
    for (to, from, is_answered) in [
        ("['10.0.0.0/8']", IpAddr::from([10, 9, 9, 9]), true),
        ("['10.0.0.0/8']", [192, 0, 2, 1].into(), false),
        ("['2001:db8::/32']", "2001:db8::1".parse().unwrap(), true),
        ("[]", [10, 9, 9, 9].into(), false),
    ] {
        let config = world::config(&format!("explain_to = {to}"));
        let answers = Answers::build(&config, world::view(UP, 30), world::TIME).unwrap();
        let code = |kind: u16| {
            let (_, octets) =
                ask(&answers, from, &craft::edns("explain.checkin.meridian.test", kind, &client)).unwrap();
            Message::from_vec(&octets).unwrap().metadata.response_code
        };
        let expected = if is_answered { ResponseCode::NoError } else { ResponseCode::Refused };
        assert_eq!((code(TXT), code(A)), (expected, ResponseCode::NoError), "{to} {from}");
    }
}

#[tokio::test]
async fn every_transport_says_the_same() {
    let files = streams::certificate();
    let running = world::start(&files.section).await;
    let mut clients = vec![
        Client::udp(running.udp()).await,
        Client::tcp(running.server.address()).await,
        Client::tls(running.server.tls_address().unwrap(), &files).await,
    ];
    for (name, kind) in [
        ("cHeckin.meridian.test", A),
        ("meridian.test", SOA),
        ("nowhere.meridian.test", A),
        ("explain.checkin.meridian.test", TXT),
        ("example.org", NS),
    ] {
        for options in [vec![], craft::subnet(1, 24, 0, &[10, 1, 2]), craft::subnet(3, 24, 0, &[10, 1, 2])] {
            let query = craft::edns(name, kind, &options);
            let mut said = Vec::new();
            for client in &mut clients {
                said.push(client.ask(&query).await);
            }
            assert_eq!(said[0], ask(&snapshot(UP), [127, 0, 0, 1].into(), &query).unwrap().1);
            assert!(said.iter().all(|one| *one == said[0]), "{name}");
        }
    }
    drop(clients);
    running.stop().await;
}
