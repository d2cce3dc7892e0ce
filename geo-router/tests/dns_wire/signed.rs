//! A signed zone: every answer convinces an independent validator (hickory-proto), and one that is changed does not.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use geo_router::dns::{Answered, Answers, DnsConfig, QueryOutcome, Rcode, ReceivedFrom, Transport, Verdict, answer};
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_proto::dnssec::{PublicKey as _, Verifier as _};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::prelude::*;

use crate::craft::{self, A, AAAA, ANY, MX, NS, SOA, TXT};
use crate::streams::Client;
use crate::world::{self, TIME, UP, US_DOWN, view};

const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const DNSKEY: u16 = 48;
const NXNAME: u16 = 128;
/// The flags of EDNS: DNSSEC records, and NXDOMAIN with a compact proof.
const DO: u16 = 0x8000;
const CO: u16 = 0x4000;

pub(crate) const RECORDS: &str = r#"records = [
    { name = "@", type = "CAA", value = '0 issue "ca.example"' },
    { name = "@", type = "MX", value = "10 Mail.Example." },
    { name = "@", type = "MX", value = "9 mail.example." },
    { name = "checkin", type = "TXT", value = '"one text"', ttl_s = 77 },
    { name = "_acme-challenge.checkin", type = "CNAME", value = "X.acme.example." },
    { name = "_sip._tcp", type = "SRV", value = "1 2 5060 Sip.Example." },
    { name = "a.b", type = "TXT", value = "deep" },
    { name = "insecure", type = "NS", value = "ns.other.example." },
    { name = "secure", type = "NS", value = "Ns.secure.meridian.test." },
    { name = "ns.secure", type = "A", value = "192.0.2.200" },
    { name = "secure", type = "DS", value = "55648 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17" },
]
"#;

/// A folder with keys, and the line that configures them.
pub(crate) struct Keys {
    pub line: String,
    /// The line with the last key in front.
    pub reversed: String,
    _folder: tempfile::TempDir,
}

pub(crate) fn keys(count: usize) -> Keys {
    let folder = tempfile::tempdir().unwrap();
    let line = |keys: &[PathBuf]| format!("dnssec_keys = {keys:?}\n");
    let mut keys: Vec<PathBuf> = Vec::new();
    for attempt in 0.. {
        if keys.len() == count {
            break;
        }
        let file = folder.path().join(format!("{attempt}.pem"));
        geo_router::dns::create_key(&file).unwrap();
        keys.push(file);
        // One key in 65,536 has the tag of another one.
        if world::check_of("checkin", &line(&keys)).is_err() {
            keys.pop();
        }
    }
    let in_order = line(&keys);
    keys.reverse();
    Keys { line: in_order, reversed: line(&keys), _folder: folder }
}

/// A signed zone with these keys and lines, and its configuration.
fn signed(count: usize, more: &str) -> (DnsConfig, Answers) {
    let keys = keys(count);
    let config = world::config(&format!("{}{more}", keys.line));
    let answers = Answers::build(&config, view(UP, 30), TIME).unwrap();
    (config, answers)
}

fn zone() -> &'static Answers {
    static ZONE: OnceLock<Answers> = OnceLock::new();
    ZONE.get_or_init(|| signed(1, RECORDS).1)
}

fn query(name: &[u8], kind: u16, flags: u16, options: &[u8]) -> Vec<u8> {
    let question = [name, &kind.to_be_bytes(), &[0, 1]].concat();
    [craft::header(0x0100, [1, 0, 0, 1]), question, craft::opt(1_232, 0, flags, options)].concat()
}

fn ask_over(transport: Transport, answers: &Answers, query: &[u8]) -> (Answered, Message) {
    let mut out = Vec::new();
    let from: IpAddr = [127, 0, 0, 1].into();
    let idle = (transport != Transport::Udp).then_some(100);
    let asked = ReceivedFrom { from, transport, time: TIME, idle };
    let QueryOutcome::Answered(answered) = answer(query, asked, answers, |_| Verdict::Answer, &mut out) else {
        panic!("an answer")
    };
    assert!(out.len() <= 1_232 || transport != Transport::Udp);
    (answered, Message::from_vec(&out).unwrap())
}

fn ask(answers: &Answers, name: &str, kind: u16) -> Message {
    ask_over(Transport::Tcp, answers, &query(&craft::name(name), kind, DO, &[])).1
}

fn dnskeys(answers: &Answers) -> Vec<DNSKEY> {
    let keys = ask(answers, "meridian.test", DNSKEY).answers.into_iter();
    let key = |record: Record| match record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
        _ => None,
    };
    keys.filter_map(key).collect()
}

fn signature(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    }
}

/// Checks that every set of these records is signed by the first key, except sets that other zones answer for; returns how
/// many are signed.
fn validate(records: &[Record], keys: &[DNSKEY], delegated: Option<&Name>) -> Result<usize, String> {
    let mut sets: Vec<(Name, RecordType)> = records
        .iter()
        .filter(|record| signature(record).is_none())
        .map(|record| (record.name.clone(), record.record_type()))
        .collect();
    sets.dedup();
    let mut count = 0;
    for (name, kind) in sets {
        if kind == RecordType::NS && delegated.is_some_and(|delegated| *delegated == name) {
            continue;
        }
        let of_set = |record: &&Record| record.name == name && record.record_type() == kind;
        let set: Vec<&Record> = records.iter().filter(of_set).collect();
        let covers = |record: &&Record| {
            record.name == name && signature(record).is_some_and(|one| one.input().type_covered == kind)
        };
        let signatures: Vec<&Record> = records.iter().filter(covers).collect();
        if signatures.is_empty() {
            return Err(format!("{name} {kind} is not signed"));
        }
        for record in signatures {
            let one = signature(record).unwrap();
            let input = one.input();
            let holds = input.sig_inception.get() < TIME && TIME < input.sig_expiration.get();
            let key = keys.iter().find(|key| key.calculate_key_tag().unwrap() == input.key_tag).ok_or("no such key")?;
            let is_first = kind == RecordType::DNSKEY || key == &keys[0];
            let ttl = record.ttl == set[0].ttl && input.original_ttl == record.ttl;
            if !holds || !is_first || !ttl {
                return Err(format!("{name} {kind}: {record}"));
            }
            key.verify_rrsig(&name, DNSClass::IN, one, set.iter().copied()).map_err(|error| error.to_string())?;
            count += 1;
        }
    }
    Ok(count)
}

fn sound(message: &Message, keys: &[DNSKEY]) -> usize {
    let delegated = message.authorities.iter().find(|record| record.record_type() == RecordType::NS);
    let delegated = delegated.filter(|_| !message.metadata.authoritative).map(|record| record.name.clone());
    let answers = validate(&message.answers, keys, None).unwrap_or_else(|error| panic!("{error}\n{message:?}"));
    let proofs = validate(&message.authorities, keys, delegated.as_ref());
    answers + proofs.unwrap_or_else(|error| panic!("{error}\n{message:?}"))
}

/// The NSEC record of an answer: its owner, the next name and the types.
fn nsec(message: &Message) -> Option<(String, Vec<u8>, Vec<u16>)> {
    let all = message.answers.iter().chain(&message.authorities);
    all.into_iter().find_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            let next: Vec<u8> = nsec.next_domain_name().iter().next().unwrap_or_default().to_vec();
            let mut types: Vec<u16> = nsec.type_bit_maps().map(u16::from).collect();
            types.sort_unstable();
            Some((record.name.to_lowercase().to_string(), next, types))
        }
        _ => None,
    })
}

#[test]
fn every_positive_answer_is_signed() {
    let keys = dnskeys(zone());
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].flags(), keys[0].public_key().public_bytes().len()), (257, 64));
    for (name, kind, sets) in [
        ("meridian.test", SOA, 1),
        ("meridian.test", NS, 1),
        ("meridian.test", DNSKEY, 1),
        ("meridian.test", MX, 1),
        ("meridian.test", 257, 1),
        ("ns1.meridian.test", A, 1),
        ("NS1.meridian.test", AAAA, 1),
        ("cHeckin.Meridian.test", A, 1),
        ("checkin.meridian.test", AAAA, 1),
        ("checkin.meridian.test", TXT, 1),
        ("checkin.meridian.test", ANY, 1),
        ("checkin.meridian.test", RRSIG, 1),
        ("meridian.test", ANY, 1),
        ("us-east.checkin.meridian.test", A, 1),
        ("explain.checkin.meridian.test", TXT, 1),
        ("_acme-challenge.checkin.meridian.test", A, 1),
        ("_ACME-challenge.checkin.meridian.test", 5, 1),
        ("_sip._tcp.meridian.test", 33, 1),
        ("a.b.meridian.test", TXT, 1),
        ("a.b.meridian.test", NSEC, 1),
        ("_acme-challenge.checkin.meridian.test", NSEC, 1),
        ("secure.meridian.test", DS, 1),
    ] {
        let said = ask(zone(), name, kind);
        assert!(!said.answers.is_empty() && said.authorities.is_empty(), "{name} {kind}: {said:?}");
        assert_eq!(sound(&said, &keys), sets, "{name} {kind}");
        assert!(said.metadata.authoritative && !said.metadata.authentic_data, "{name} {kind}");
    }
}

#[test]
fn every_negative_answer_is_proven_by_one_record_at_the_name() {
    let keys = dnskeys(zone());
    for (name, kind, types) in [
        ("meridian.test", A, &[NS, SOA, MX, RRSIG, NSEC, DNSKEY, 257][..]),
        ("meridian.test", DS, &[NS, SOA, MX, RRSIG, NSEC, DNSKEY, 257]),
        ("checkin.meridian.test", MX, &[A, TXT, AAAA, RRSIG, NSEC]),
        ("explain.checkin.meridian.test", A, &[TXT, RRSIG, NSEC]),
        ("ns1.meridian.test", TXT, &[A, AAAA, RRSIG, NSEC]),
        ("us-east.checkin.meridian.test", 65, &[A, AAAA, RRSIG, NSEC]),
        // Names between two others exist, and have nothing.
        ("b.meridian.test", A, &[RRSIG, NSEC]),
        ("_tcp.meridian.test", ANY, &[RRSIG, NSEC]),
        ("insecure.meridian.test", DS, &[NS, RRSIG, NSEC]),
        // Names that do not exist.
        ("nowhere.meridian.test", A, &[RRSIG, NSEC, NXNAME]),
        ("NoWhere.Meridian.test", NSEC, &[RRSIG, NSEC, NXNAME]),
        ("nowhere.meridian.test", RRSIG, &[RRSIG, NSEC, NXNAME]),
        ("x.y.ns1.meridian.test", DS, &[RRSIG, NSEC, NXNAME]),
        ("*.meridian.test", TXT, &[RRSIG, NSEC, NXNAME]),
        ("*.checkin.meridian.test", ANY, &[RRSIG, NSEC, NXNAME]),
    ] {
        let said = ask(zone(), name, kind);
        assert_eq!(said.metadata.response_code, ResponseCode::NoError, "{name} {kind}");
        assert!(said.answers.is_empty() && said.metadata.authoritative, "{name} {kind}");
        assert_eq!((said.authorities.len(), sound(&said, &keys)), (4, 2), "{name} {kind}: SOA, NSEC, two signatures");
        let (owner, next, found) = nsec(&said).unwrap();
        assert_eq!((owner, next), (format!("{}.", name.to_lowercase()), vec![0]), "{name} {kind}");
        assert_eq!(found, types, "{name} {kind}");
        let ttls: Vec<u32> = said.authorities.iter().map(|record| record.ttl).collect();
        assert_eq!(ttls, [5; 4], "{name} {kind}: RFC 9077");
    }
}

/// RFC 9824, sections 3.5 and 5.1.
#[test]
fn nxdomain_is_for_clients_that_take_it() {
    let name = craft::name("nowhere.meridian.test");
    for (flags, code, records, told) in [
        (0, Rcode::NxDomain, 1, 0),
        (CO, Rcode::NxDomain, 1, 0),
        (DO, Rcode::NoError, 4, DO),
        (DO | CO, Rcode::NxDomain, 4, DO | CO),
    ] {
        let (answered, said) = ask_over(Transport::Udp, zone(), &query(&name, A, flags, &[]));
        assert_eq!((answered.rcode, said.authorities.len()), (code, records), "{flags:04x}");
        let edns = said.edns.unwrap();
        let written = u16::from(edns.flags().dnssec_ok) << 15 | edns.flags().z;
        assert_eq!(written, told, "{flags:04x}");
    }
    let exists = craft::name("checkin.meridian.test");
    let (_, said) = ask_over(Transport::Udp, zone(), &query(&exists, A, DO | CO, &[]));
    assert_eq!(said.edns.unwrap().flags().z, CO);
    for flags in [0, DO] {
        assert_eq!(ask_over(Transport::Udp, zone(), &query(&name, NXNAME, flags, &[])).0.rcode, Rcode::FormErr);
    }
}

#[test]
fn referrals_say_whether_the_delegated_zone_is_signed() {
    let keys = dnskeys(zone());
    for name in ["insecure.meridian.test", "x.Insecure.meridian.test"] {
        let said = ask(zone(), name, A);
        assert!(!said.metadata.authoritative && said.answers.is_empty());
        assert_eq!(sound(&said, &keys), 1, "{name}");
        let (owner, next, types) = nsec(&said).unwrap();
        assert_eq!(
            (owner.as_str(), next, types),
            ("insecure.meridian.test.", vec![0], vec![NS, RRSIG, NSEC]),
            "{name}"
        );
    }
    let said = ask(zone(), "www.secure.meridian.test", A);
    let kinds: Vec<String> = said.authorities.iter().map(|record| record.record_type().to_string()).collect();
    assert_eq!((kinds.join(" "), said.additionals.len()), ("NS DS RRSIG".to_owned(), 1));
    assert_eq!(sound(&said, &keys), 1);
}

#[test]
fn without_the_flag_nothing_is_signed() {
    let (config, signed) = signed(1, RECORDS);
    let plain = Answers::build(&world::config(RECORDS), view(UP, 30), TIME).unwrap();
    assert_eq!(config.keys().unwrap().len(), 1);
    for name in
        ["meridian.test", "checkin.meridian.test", "nowhere.meridian.test", "x.secure.meridian.test", "b.meridian.test"]
    {
        for kind in [A, NS, SOA, MX, TXT, ANY, DS] {
            for flags in [0, CO] {
                let query = query(&craft::name(name), kind, flags, &[]);
                let octets = |answers: &Answers| world::ask(answers, [127, 0, 0, 1].into(), &query).unwrap().1;
                assert_eq!(octets(&signed), octets(&plain), "{name} {kind}");
            }
        }
    }
    // A zone without keys answers the flag as before, and has no types of DNSSEC.
    for kind in [DNSKEY, NSEC, RRSIG] {
        let (answered, said) =
            ask_over(Transport::Udp, &plain, &query(&craft::name("meridian.test"), kind, DO | CO, &[]));
        assert_eq!((answered.rcode, said.answers.len(), said.authorities.len()), (Rcode::NoError, 0, 1));
        assert_eq!(said.edns.unwrap().flags().z, 0);
    }
}

#[test]
fn the_zone_itself_may_be_the_service() {
    let keys = keys(1);
    let config = world::config_of("@", &keys.line);
    let answers = Answers::build(&config, view(UP, 30), TIME).unwrap();
    let keys = dnskeys(&answers);
    for (name, kind, sets) in [
        ("meridian.test", A, 1),
        ("meridian.test", AAAA, 1),
        ("meridian.test", SOA, 1),
        ("meridian.test", DNSKEY, 1),
        ("us-east.meridian.test", A, 1),
        ("meridian.test", MX, 2),
        ("nowhere.meridian.test", A, 2),
    ] {
        assert_eq!(sound(&ask(&answers, name, kind), &keys), sets, "{name} {kind}");
    }
    let types = nsec(&ask(&answers, "meridian.test", MX)).unwrap().2;
    assert_eq!(types, [A, NS, SOA, AAAA, RRSIG, NSEC, DNSKEY]);
}

/// What was signed on one day is signed again on the next, with the same records.
#[test]
fn another_day_has_other_signatures() {
    let keys = keys(1);
    let config = world::config(&keys.line);
    let build = |time| Answers::build(&config, view(UP, 30), time).unwrap();
    let octets = |answers: &Answers, flags: u16| {
        let query = query(&craft::name("checkin.meridian.test"), A, flags, &[]);
        world::ask(answers, [127, 0, 0, 1].into(), &query).unwrap().1
    };
    let (today, later, tomorrow) = (build(TIME), build(TIME + 60), build(TIME + 86_400));
    assert_eq!(octets(&today, DO), octets(&later, DO), "kept over a view");
    assert_ne!(octets(&today, DO), octets(&tomorrow, DO));
    assert_eq!(octets(&today, 0), octets(&tomorrow, 0));
}

/// The keys of a roll-over: all are shown and sign the keys, and the first one signs the rest.
#[test]
fn a_further_key_is_shown_and_signs_the_keys_alone() {
    let (config, answers) = signed(2, "");
    let said = ask(&answers, "meridian.test", DNSKEY);
    let all = dnskeys(&answers);
    let facts = config.keys().unwrap();
    let tags = |keys: &[DNSKEY]| keys.iter().map(|key| key.calculate_key_tag().unwrap()).collect::<Vec<_>>();
    assert_eq!(tags(&all), facts.iter().map(|key| key.tag).collect::<Vec<_>>());
    assert_eq!(facts.iter().map(|key| key.signs).collect::<Vec<_>>(), [true, false]);
    assert_eq!(sound(&said, &all), 2);
    assert_eq!(sound(&ask(&answers, "checkin.meridian.test", A), &all), 1);
    assert!(validate(&ask(&answers, "checkin.meridian.test", A).answers, &all[1..], None).is_err());
}

#[test]
fn several_regions_have_one_signature_over_what_fits() {
    for most in 1..=4 {
        let answers = signed(1, &format!("regions_per_answer = {most}\n")).1;
        let keys = dnskeys(&answers);
        for (subnet, kind) in [([10, 1, 2], A), ([11, 1, 2], AAAA)] {
            let name = craft::name("checkin.meridian.test");
            let asks = |payload: u16| {
                let question = [&name[..], &kind.to_be_bytes(), &[0, 1]].concat();
                let opt = craft::opt(payload, 0, DO, &craft::subnet(1, 24, 0, &subnet));
                [craft::header(0, [1, 0, 0, 1]), question, opt].concat()
            };
            let (_, said) = ask_over(Transport::Udp, &answers, &asks(1_232));
            assert_eq!((said.answers.len(), sound(&said, &keys)), (2 * most.min(3) + 1, 1), "{most} {kind}");
            // The signature is over the regions that have room, also where others are left out.
            let (answered, least) = ask_over(Transport::Udp, &answers, &asks(512));
            assert!(!answered.truncated && sound(&least, &keys) == 1, "{most} {kind}");
        }
    }
    // 16 octets for each address.
    let mut long = std::sync::Arc::into_inner(view(UP, 30)).unwrap();
    let mut fleet = world::fleet();
    for (at, region) in fleet.regions.iter_mut().enumerate() {
        region.nodes[0].addresses = (1..=20).map(|host| [198, 51, at as u8, host].into()).collect();
        region.nodes[1].addresses.clear();
    }
    long.fleet = std::sync::Arc::new(fleet);
    let keys_line = keys(1);
    let config = world::config(&format!("{}regions_per_answer = 3\n", keys_line.line));
    let answers = Answers::build(&config, std::sync::Arc::new(long), TIME).unwrap();
    let keys = dnskeys(&answers);
    for (payload, expected) in [(512, 21), (900, 41), (1_232, 61)] {
        let opt = craft::opt(payload, 0, DO, &[]);
        let query = [craft::header(0, [1, 0, 0, 1]), craft::question("checkin.meridian.test", A), opt].concat();
        let (answered, said) = ask_over(Transport::Udp, &answers, &query);
        assert_eq!((answered.truncated, said.answers.len(), sound(&said, &keys)), (false, expected, 1), "{payload}");
    }
}

#[test]
fn a_changed_answer_convinces_nobody() {
    let keys = dnskeys(zone());
    let other = dnskeys(&signed(1, "").1);
    for (name, kind) in [("checkin.meridian.test", A), ("meridian.test", SOA), ("nowhere.meridian.test", A)] {
        let said = ask(zone(), name, kind);
        let records: Vec<Record> = said.answers.iter().chain(&said.authorities).cloned().collect();
        assert!(validate(&records, &keys, None).is_ok());
        assert!(validate(&records, &other, None).is_err(), "another key");
        let mut changed = records.clone();
        changed[0].data = RData::A("192.0.2.66".parse().unwrap());
        assert!(validate(&changed, &keys, None).is_err());
    }
}

#[test]
fn a_region_that_lacks_a_family_denies_it_and_no_other_type() {
    let mut other = std::sync::Arc::into_inner(view(US_DOWN, 30)).unwrap();
    let mut fleet = world::fleet();
    fleet.regions[world::EU].nodes.iter_mut().for_each(|node| node.addresses.retain(|one| one.is_ipv4()));
    other.fleet = std::sync::Arc::new(fleet);
    let keys_line = keys(1);
    let answers = Answers::build(&world::config(&keys_line.line), std::sync::Arc::new(other), TIME).unwrap();
    let said = ask(&answers, "checkin.meridian.test", AAAA);
    assert_eq!(sound(&said, &dnskeys(&answers)), 2);
    assert_eq!(nsec(&said).unwrap().2, [A, RRSIG, NSEC]);
}

/// An attacker with forged addresses causes a bounded number of signatures, and what is beyond gets its answer over TCP.
#[test]
fn a_flood_of_random_names_is_told_to_use_tcp() {
    let answers = signed(1, "").1;
    let name = |at: u32| craft::name(&format!("r{at}.meridian.test"));
    let over = |transport, name: &[u8]| ask_over(transport, &answers, &query(name, A, DO, &[])).1;
    let is_told = |name: &Vec<u8>| over(Transport::Udp, name).metadata.truncation;
    let first = name(0);
    assert!(!is_told(&first));
    let refused = |name: &Vec<u8>| {
        let said = over(Transport::Udp, name);
        assert_eq!(said.metadata.response_code, ResponseCode::NoError, "no NXDOMAIN without its proof");
        said.metadata.truncation && said.authorities.is_empty()
    };
    let told = (1..1_000_000).map(name).find(refused).expect("a bound");
    let said = over(Transport::Tcp, &told);
    assert_eq!((said.metadata.truncation, said.authorities.len()), (false, 4));
    assert!(!is_told(&told) && !is_told(&first), "what is kept costs nothing");
    assert!(!over(Transport::Udp, &craft::name("checkin.meridian.test")).metadata.truncation);
}

/// A running server signs by its own clock, and shows what it made and until when it holds.
#[tokio::test]
async fn a_server_counts_signatures_and_shows_their_end() {
    let keys = keys(1);
    let running = world::start(&keys.line).await;
    let mut client = Client::udp(running.udp()).await;
    let said = Message::from_vec(&client.ask(&query(&craft::name("nowhere.meridian.test"), A, DO, &[])).await).unwrap();
    let end = said.authorities.iter().find_map(signature).unwrap().input().sig_expiration.get();
    running.until("signatures_total", &[("result", "asked")], 1.0).await;
    // Midnight may be between the answer and the count.
    let shown = running.metric("signatures_end_seconds", &[]);
    assert!([end, end + 86_400].map(f64::from).contains(&shown), "{shown}, not {end}");
    assert!(running.metric("signatures_total", &[("result", "ahead")]) > 10.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((3 * 86_400 - 60..=4 * 86_400 + 60).contains(&(u64::from(end) - now)), "{end} {now}");
    drop(client);
    running.stop().await;
}

fn any_octets() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..4).prop_map(|labels| {
        let mut name: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8], &label[..]].concat()).collect();
        name.extend(craft::name("meridian.test"));
        name
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Any name, of any octets and length: the answer fits, and its signatures hold.
    #[test]
    fn any_name_gets_a_proof(name in any_octets(), kind in any::<u16>(), compact in any::<bool>(), payload in 512_u16..1_400) {
        prop_assume!(name.len() <= 255);
        let question = [&name[..], &kind.to_be_bytes(), &[0, 1]].concat();
        let flags = if compact { DO | CO } else { DO };
        let query = [craft::header(0, [1, 0, 0, 1]), question, craft::opt(payload, 0, flags, &[])].concat();
        let keys = dnskeys(zone());
        let (answered, said) = ask_over(Transport::Udp, zone(), &query);
        if matches!(answered.rcode, Rcode::NoError | Rcode::NxDomain) && !answered.truncated {
            prop_assert!(sound(&said, &keys) > 0);
        }
        let (answered, said) = ask_over(Transport::Tcp, zone(), &query);
        prop_assert!(!answered.truncated);
        if matches!(answered.rcode, Rcode::NoError | Rcode::NxDomain) {
            prop_assert!(sound(&said, &keys) > 0);
        }
    }
}
