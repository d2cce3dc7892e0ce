//! Delegations: names at and below them are other name servers' to answer.

use geo_router::dns::Answers;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};

use crate::craft::{self, A, ANY, AXFR, NS, SOA, TXT};
use crate::streams::Client;
use crate::world::{self, UP, ask, view};

const DS: u16 = 43;

const RECORDS: &str = r#"records = [
    { name = "_acme-challenge.checkin", type = "NS", value = "ns.acme.example." },
    { name = "sub.far", type = "NS", value = "NS1.sub.far.meridian.test.", ttl_s = 77 },
    { name = "sub.far", type = "NS", value = "ns.other.example.", ttl_s = 77 },
    { name = "ns1.sub.far", type = "A", value = "192.0.2.200", ttl_s = 78 },
    { name = "ns1.sub.far", type = "AAAA", value = "2001:db8::200" },
    { name = "www", type = "A", value = "192.0.2.80" },
]
"#;

fn resolve(name: &str, kind: u16) -> Message {
    let answers = Answers::build(&world::config(RECORDS), view(UP, 30), world::TIME).unwrap();
    let (_, octets) = ask(&answers, [127, 0, 0, 1].into(), &craft::plain(name, kind)).unwrap();
    Message::from_vec(&octets).unwrap()
}

fn texts(records: &[Record]) -> Vec<String> {
    let text = |one: &Record| format!("{} {} {} {}", one.name, one.ttl, one.record_type(), one.data);
    records.iter().map(text).collect()
}

/// RFC 1034, section 4.3.2, step 3b.
#[test]
fn names_at_and_below_a_delegation_are_referred() {
    for (name, kind) in [
        ("_acme-challenge.checkin.meridian.test", TXT),
        ("_ACME-challenge.Checkin.meridian.test", NS),
        ("_acme-challenge.checkin.meridian.test", ANY),
        ("x.y._acme-challenge.checkin.meridian.test", SOA),
        ("x._acme-challenge.checkin.meridian.test", DS),
    ] {
        let said = resolve(name, kind);
        assert_eq!(
            (said.metadata.response_code, said.metadata.authoritative),
            (ResponseCode::NoError, false),
            "{name}"
        );
        assert!(said.answers.is_empty() && said.additionals.is_empty(), "{name}");
        let [server] = &said.authorities[..] else { panic!("{said:?}") };
        let owner = server.name.to_lowercase().to_string();
        assert_eq!((owner.as_str(), server.ttl), ("_acme-challenge.checkin.meridian.test.", 3_600));
        assert_eq!(server.data.to_string(), "ns.acme.example.");
    }
}

#[test]
fn glue_comes_with_a_referral() {
    // Glue itself is not this zone's to answer either.
    for name in ["sub.far.meridian.test", "deep.sub.far.meridian.test", "ns1.sub.far.meridian.test"] {
        let said = resolve(name, A);
        assert!(!said.metadata.authoritative && said.answers.is_empty());
        let servers = [
            "sub.far.meridian.test. 77 NS ns1.sub.far.meridian.test.",
            "sub.far.meridian.test. 77 NS ns.other.example.",
        ];
        let glue =
            ["ns1.sub.far.meridian.test. 78 A 192.0.2.200", "ns1.sub.far.meridian.test. 3600 AAAA 2001:db8::200"];
        assert_eq!(
            (texts(&said.authorities), texts(&said.additionals)),
            (servers.map(str::to_owned).to_vec(), glue.map(str::to_owned).to_vec()),
            "{name}"
        );
    }
}

#[test]
fn names_beside_a_delegation_are_answered_as_before() {
    let cases: [(&str, u16, ResponseCode, usize); 8] = [
        // The zone above has DS records, and this one is not signed (RFC 4035, section 3.1.4.1).
        ("sub.far.meridian.test", DS, ResponseCode::NoError, 0),
        ("far.meridian.test", A, ResponseCode::NoError, 0),
        ("xsub.far.meridian.test", A, ResponseCode::NXDomain, 0),
        ("www.meridian.test", A, ResponseCode::NoError, 1),
        ("checkin.meridian.test", A, ResponseCode::NoError, 2),
        ("us-east.checkin.meridian.test", A, ResponseCode::NoError, 2),
        ("meridian.test", NS, ResponseCode::NoError, 1),
        ("example.org", A, ResponseCode::Refused, 0),
    ];
    for (name, kind, code, answers) in cases {
        let said = resolve(name, kind);
        assert_eq!((said.metadata.response_code, said.answers.len()), (code, answers), "{name} {kind}");
        assert_eq!(said.metadata.authoritative, code != ResponseCode::Refused, "{name} {kind}");
        let start = said.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
        assert_eq!(start, answers == 0 && code != ResponseCode::Refused, "{name} {kind}");
    }
    assert_eq!(resolve("sub.far.meridian.test", AXFR).metadata.response_code, ResponseCode::Refused);
}

/// RFC 9471: a referral without its glue is not whole.
#[tokio::test]
async fn a_referral_that_does_not_fit_is_whole_over_tcp() {
    let many: Vec<String> = (1..=30)
        .map(|host| format!(
            "{{ name = 'sub', type = 'NS', value = 'a{host}.sub.meridian.test.' }}, {{ name = 'a{host}.sub', type = 'A', value = '192.0.2.{host}' }}"
        ))
        .collect();
    let running = world::start(&format!("records = [{}]\n", many.join(", "))).await;
    let query = craft::edns("www.sub.meridian.test", A, &craft::subnet(1, 24, 0, &[10, 1, 2]));
    let said = Message::from_vec(&Client::udp(running.udp()).await.ask(&query).await).unwrap();
    assert!(said.metadata.truncation && said.authorities.is_empty() && said.additionals.is_empty());
    let octets = Client::tcp(running.udp()).await.ask(&query).await;
    let said = Message::from_vec(&octets).unwrap();
    assert!(!said.metadata.truncation);
    assert_eq!((said.authorities.len(), said.additionals.len()), (30, 30));
    assert_eq!(craft::option_of(&octets, 8), Some(vec![0, 1, 24, 0, 10, 1, 2]), "it holds for all clients");
    running.stop().await;
}
