//! Properties of every query: the pure function with generated octets, names and subnets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use geo_router::dns::{Answers, Rcode};
use hickory_proto::op::Message;
use proptest::prelude::*;

use crate::craft::{self, A, AAAA, MX, OPT, TXT};
use crate::world::{UP, US_DOWN, ask, snapshot};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// All regions up, and one of them down.
fn snapshots() -> &'static [Answers; 2] {
    static BOTH: OnceLock<[Answers; 2]> = OnceLock::new();
    BOTH.get_or_init(|| [snapshot(UP), snapshot(US_DOWN)])
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("checkin.meridian.test".to_owned()),
        Just("meridian.test".to_owned()),
        Just("ns1.meridian.test".to_owned()),
        Just("us-east.checkin.meridian.test".to_owned()),
        Just("explain.checkin.meridian.test".to_owned()),
        "[a-zA-Z0-9]{1,63}\\.meridian\\.test",
        "[a-z]{1,20}(\\.[a-z]{1,20}){0,5}",
    ]
}

/// Letters in arbitrary case.
fn mixed(name: &str, cases: u64) -> String {
    let change = |(at, letter): (usize, char)| {
        if cases >> (at % 64) & 1 == 1 { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    name.chars().enumerate().map(change).collect()
}

fn any_subnet() -> impl Strategy<Value = (IpAddr, u8)> {
    let v4 = (any::<u32>(), 1_u8..=32)
        .prop_map(|(bits, source)| (IpAddr::V4(Ipv4Addr::from(bits & u32::MAX << (32 - source))), source));
    let v6 = (prop_oneof![any::<u128>(), (0_u128..1 << 125).prop_map(|bits| bits | 1 << 125)], 1_u8..=128)
        .prop_map(|(bits, source)| (IpAddr::V6(Ipv6Addr::from(bits & u128::MAX << (128 - source))), source));
    prop_oneof![v4, v6]
}

fn subnet((address, source): (IpAddr, u8), scope: u8) -> Vec<u8> {
    let told = usize::from(source.div_ceil(8));
    match address {
        IpAddr::V4(address) => craft::subnet(1, source, scope, &address.octets()[..told]),
        IpAddr::V6(address) => craft::subnet(2, source, scope, &address.octets()[..told]),
    }
}

/// Everything between the question and the OPT record of an answer.
fn records(query: &[u8], answer: &[u8], opt: usize) -> Vec<u8> {
    let question = query.len() - opt;
    answer[question..answer.len() - opt].to_vec()
}

/// The first address of `leaf`'s network and the `random`th one, as subnets as fine as the scope.
fn within(address: IpAddr, scope: u8, random: u128) -> (IpAddr, u8) {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(scope.into()).unwrap_or(0);
            let bits = u32::from(address) & !host | random as u32 & host;
            (Ipv4Addr::from(bits).into(), 32)
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(scope.into()).unwrap_or(0);
            (Ipv6Addr::from(u128::from(address) & !host | random & host).into(), 128)
        }
    }
}

/// Options that are valid, broken or unknown.
fn any_options() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![Just(3_u16), Just(8), Just(10), Just(11), Just(12), any::<u16>()];
    let data =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..48), Just(vec![]), Just(vec![7; 8]), Just(vec![7; 24])];
    let one = (code, data).prop_map(|(code, data)| craft::option(code, &data));
    prop::collection::vec(one, 0..6).prop_map(|all| all.concat())
}

fn judge(query: &[u8], limit: usize) -> Result<(), TestCaseError> {
    for answers in snapshots() {
        let Some((answered, octets)) = ask(answers, HERE, query) else {
            prop_assert!(query.len() < 12 || query[2] & 0x80 != 0);
            continue;
        };
        let message = Message::from_vec(&octets);
        prop_assert!(message.is_ok(), "{message:?}: {octets:02x?}");
        prop_assert_eq!(&octets[..2], &query[..2], "the identifier");
        prop_assert_eq!(octets[2] & 0x80, 0x80, "a response");
        prop_assert!(octets.len() <= limit, "{} of {limit}", octets.len());
        prop_assert_eq!(octets[3] & 0x0F, answered.rcode as u8 & 0x0F);
        if octets[5] == 1 {
            let kept = octets.len().min(query.len()).min(13);
            prop_assert_eq!(&octets[12..kept], &query[12..kept], "the question");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_get_a_valid_answer_or_none(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        judge(&octets, 4_096)?;
    }

    /// Damages a good query: a few octets are changed, inserted or removed.
    #[test]
    fn damaged_queries_get_a_valid_answer_or_none(
        name in any_name(), kind in prop_oneof![Just(A), Just(AAAA), Just(TXT), any::<u16>()], who in any_subnet(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..4),
    ) {
        let mut query = craft::edns(&name, kind, &subnet(who, 0));
        for (at, octet, how) in damage {
            let at = at.index(query.len());
            match how {
                0 => query[at] = octet,
                1 => query.insert(at, octet),
                _ => { query.remove(at); }
            }
        }
        judge(&query, 4_096)?;
    }

    #[test]
    fn options_get_a_valid_answer_that_fits(name in any_name(), options in any_options(), payload in any::<u16>(), one in any::<bool>()) {
        let opt = craft::opt(payload, 0, 0, &options);
        let question = if one { craft::question(&name, A) } else { vec![] };
        let query = [craft::header(0, [one.into(), 0, 0, 1]), question, opt].concat();
        judge(&query, usize::from(payload.clamp(512, 1_232)))?;
    }

    #[test]
    fn the_question_comes_back_in_its_own_case(name in any_name(), cases in any::<u64>(), kind in any::<u16>()) {
        prop_assume!(kind != OPT);
        let (lower, asked) = (craft::plain(&mixed(&name, 0), kind), craft::plain(&mixed(&name, cases), kind));
        judge(&asked, 512)?;
        let (_, answer) = ask(&snapshots()[0], HERE, &asked).unwrap();
        prop_assert_eq!(&answer[12..asked.len()], &asked[12..]);
        let (_, as_lower) = ask(&snapshots()[0], HERE, &lower).unwrap();
        prop_assert_eq!(&answer[asked.len()..], &as_lower[lower.len()..], "case changes nothing else");
    }

    #[test]
    fn no_answer_is_longer_than_its_client_takes(name in any_name(), kind in any::<u16>(), payload in any::<u16>()) {
        let opt = craft::opt(payload, 0, 0, &[]);
        let query = [craft::header(0, [1, 0, 0, 1]), craft::question(&name, kind), opt].concat();
        judge(&query, usize::from(payload.clamp(512, 1_232)))?;
    }

    /// RFC 7871, sections 7.2.1 and 7.4.
    #[test]
    fn subnets_come_back_with_the_scope_of_their_leaf(who in any_subnet(), random in any::<u128>(), kind in prop_oneof![Just(A), Just(AAAA)]) {
        prop_assume!(!matches!(who.0, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()));
        let view = crate::world::view(UP, 30);
        let scope = view.places.leaf(who.0).prefix;
        let sent = subnet(who, 0);
        let query = craft::edns("checkin.meridian.test", kind, &sent);
        let opt = craft::opt(1_232, 0, 0, &sent).len();
        for answers in snapshots() {
            let (answered, answer) = ask(answers, HERE, &query).unwrap();
            prop_assert_eq!(answered.rcode, Rcode::NoError);
            prop_assert!(answer.ends_with(&craft::opt(1_232, 0, 0, &subnet(who, scope))), "health changes no scope");
            // Another client in that scope: same records, same scope.
            let other = within(who.0, scope, random);
            let told = subnet(other, 0);
            let others = craft::edns("checkin.meridian.test", kind, &told);
            let (_, same) = ask(answers, HERE, &others).unwrap();
            prop_assert!(same.ends_with(&craft::opt(1_232, 0, 0, &subnet(other, scope))));
            if who.1 >= scope {
                let others_opt = craft::opt(1_232, 0, 0, &told).len();
                prop_assert_eq!(records(&query, &answer, opt), records(&others, &same, others_opt));
            }
        }
    }

    #[test]
    fn an_answer_that_is_the_same_for_all_has_no_scope(who in any_subnet(), random in "[a-z]{1,20}") {
        for (name, kind) in [
            ("meridian.test", A), ("meridian.test", 6), ("ns1.meridian.test", A), ("checkin.meridian.test", MX),
            ("us-east.checkin.meridian.test", A), ("example.org", A), (&format!("{random}-.meridian.test"), A),
        ] {
            let query = craft::edns(name, kind, &subnet(who, 0));
            let (_, answer) = ask(&snapshots()[0], HERE, &query).unwrap();
            prop_assert!(answer.ends_with(&craft::opt(1_232, 0, 0, &subnet(who, 0))), "{} {}", name, kind);
        }
    }
}

#[test]
fn a_mapped_ipv4_address_gets_no_scope_of_the_other_family() {
    let address: IpAddr = "::ffff:10.1.2.0".parse().unwrap();
    let around: IpAddr = "::1".parse().unwrap();
    let [is_v4_mapped, plain] = [address, around].map(|one| {
        let query = craft::edns("checkin.meridian.test", A, &subnet((one, 128), 0));
        ask(&snapshots()[0], HERE, &query).unwrap().1
    });
    let scope = crate::world::view(UP, 30).places.leaf(around).prefix;
    assert!(is_v4_mapped.ends_with(&craft::opt(1_232, 0, 0, &subnet((address, 128), scope))));
    let opt = craft::opt(1_232, 0, 0, &subnet((address, 128), 0)).len();
    assert_eq!(is_v4_mapped[..is_v4_mapped.len() - opt], plain[..plain.len() - opt], "one scope, one answer");
}
