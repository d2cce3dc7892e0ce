//! Every rule by which changes of membership change the fleet, and histories of changes with hostile values.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use api::members::{Member, Membership};
use api::{Position, RegionId};
use proptest::prelude::*;

use super::super::members::Members;
use super::{Ignored, effective};
use crate::endpoint::Endpoint;
use crate::fleet::{Fleet, Node, Region};

const AT: Position = Position { latitude: 50.0, longitude: 8.0 };

fn node(name: &str, http: &str) -> Node {
    let http: SocketAddr = http.parse().unwrap();
    Node { name: name.parse().unwrap(), at: http.into(), addresses: vec![http.ip()], weight: 3 }
}

fn region(name: &str, nodes: Vec<Node>) -> Region {
    Region { name: name.parse().unwrap(), position: AT, weight: 2.0, capacity: Some(9.0), nodes }
}

fn configured() -> Fleet {
    let mut listed = node("us", "10.0.0.3:80");
    listed.addresses = vec!["192.0.2.3".parse().unwrap(), "2001:db8::3".parse().unwrap()];
    let eu = region("eu", vec![node("eu-1", "10.0.0.1:80"), node("eu-2", "10.0.0.2:80")]);
    Fleet { regions: vec![eu, region("us", vec![listed])] }
}

fn member(name: &str, region: &str, public: Option<&str>) -> Member {
    Member {
        name: name.parse().unwrap(),
        region: region.parse().unwrap(),
        membership: Membership::Member,
        since: "2026-05-01T10:00:00Z".parse().unwrap(),
        position: Some(AT),
        public: public.map(|address| address.parse().unwrap()),
        public_tls: None,
        server_name: None,
        replication: None,
        introduced: false,
        by: None,
        reason: None,
    }
}

fn removed(name: &str) -> Member {
    Member { membership: Membership::Removed, ..member(name, "eu", None) }
}

fn fit(region: &RegionId) -> bool {
    region.as_str() != "explain"
}

fn taken(changes: impl IntoIterator<Item = Member>) -> Members {
    let mut members = Members::default();
    for member in changes {
        members.take(member);
    }
    members
}

/// The fleet as text, and what is ignored.
fn derived(changes: impl IntoIterator<Item = Member>) -> (Vec<String>, Vec<Ignored>) {
    let members = taken(changes);
    let found = effective(&configured(), &members, fit);
    let fleet = found.fleet.unwrap_or(Fleet { regions: Vec::new() });
    let nodes = |region: &Region| {
        region.nodes.iter().map(|node| format!(" {}={}", node.name, node.at.host())).collect::<String>()
    };
    let text = fleet.regions.iter().map(|region| format!("{}:{}", region.name, nodes(region)));
    (text.collect(), found.ignored.into_iter().collect())
}

#[test]
fn without_changes_the_configuration_holds() {
    let found = effective(&configured(), &Members::default(), fit);
    assert_eq!((found.fleet, found.ignored.len()), (Some(configured()), 0));
    // A member without a public address is for nodes, not for routers.
    let (fleet, ignored) = derived([member("eu-1", "eu", None), member("sa", "sa", None)]);
    assert_eq!((fleet, ignored), (derived([]).0, Vec::new()));
}

#[test]
fn nodes_and_regions_come() {
    let (fleet, ignored) = derived([
        member("us-2", "us", Some("10.0.0.4:80")),
        member("sa-2", "sa", Some("10.0.0.6:80")),
        Member { position: None, ..member("sa-1", "sa", Some("10.0.0.5:80")) },
        member("ap", "ap", Some("[2001:db8::9]:80")),
    ]);
    assert_eq!(
        fleet,
        [
            "eu: eu-1=10.0.0.1:80 eu-2=10.0.0.2:80",
            "us: us=10.0.0.3:80 us-2=10.0.0.4:80",
            "ap: ap=[2001:db8::9]:80",
            "sa: sa-1=10.0.0.5:80 sa-2=10.0.0.6:80",
        ]
    );
    assert_eq!(ignored, []);
    let mut members = Members::default();
    members.take(member("sa", "sa", Some("10.0.0.5:80")));
    let fleet = effective(&configured(), &members, fit).fleet.unwrap();
    let sa = &fleet.regions[2];
    assert_eq!((sa.position, sa.weight, sa.capacity), (AT, 1.0, None));
    assert_eq!((sa.nodes[0].weight, &sa.nodes[0].addresses[..]), (1, &["10.0.0.5".parse().unwrap()][..]));
    assert_eq!(fleet.regions[..2], configured().regions, "those of the configuration are as they were");
}

#[test]
fn a_node_that_moves_takes_the_addresses_of_its_new_place() {
    let mut members = Members::default();
    members.take(member("us", "us", Some("10.0.0.3:80")));
    assert_eq!(effective(&configured(), &members, fit).fleet, Some(configured()), "the address is as configured");
    let later = "2026-05-01T10:00:01Z".parse().unwrap();
    members.take(Member { since: later, ..member("us", "us", Some("10.9.9.9:80")) });
    let fleet = effective(&configured(), &members, fit).fleet.unwrap();
    let us = &fleet.regions[1].nodes[0];
    assert_eq!(
        (us.at.sockets(), &us.addresses[..], us.weight),
        (&["10.9.9.9:80".parse().unwrap()][..], &["10.9.9.9".parse().unwrap()][..], 3)
    );
    // To another region, and to one that cannot be used.
    assert_eq!(derived([member("eu-2", "us", Some("10.0.0.2:80"))]).0[1], "us: eu-2=10.0.0.2:80 us=10.0.0.3:80");
    let (fleet, ignored) = derived([Member { position: None, ..member("eu-2", "sa", Some("10.0.0.2:80")) }]);
    assert_eq!(fleet, derived([]).0);
    assert_eq!(ignored, [Ignored::NoPosition { region: "sa".parse().unwrap() }]);
}

#[test]
fn nodes_and_regions_go_but_never_all() {
    assert_eq!(derived([removed("eu-2")]).0, ["eu: eu-1=10.0.0.1:80", "us: us=10.0.0.3:80"]);
    assert_eq!(derived([removed("eu-1"), removed("eu-2")]).0, ["us: us=10.0.0.3:80"]);
    assert_eq!(derived([removed("us"), removed("unknown")]).0, ["eu: eu-1=10.0.0.1:80 eu-2=10.0.0.2:80"]);
    let (fleet, ignored) = derived([removed("eu-1"), removed("eu-2"), removed("us")]);
    assert_eq!((fleet.len(), ignored), (0, vec![Ignored::NothingLeft]));
    // The last configured node is replaced by another one.
    let all = [removed("eu-1"), removed("eu-2"), removed("us"), member("sa", "sa", Some("10.0.0.5:80"))];
    assert_eq!(derived(all).0, ["sa: sa=10.0.0.5:80"]);
}

#[test]
fn what_leads_nowhere_is_refused_by_name() {
    for address in ["0.0.0.0:80", "10.0.0.1:0", "[::]:80", "[::ffff:0.0.0.0]:80", "224.0.0.1:80"] {
        let (fleet, ignored) = derived([member("eu-1", "eu", Some(address)), member("sa", "sa", Some(address))]);
        assert_eq!(fleet, derived([]).0, "{address}");
        assert_eq!(ignored.len(), 2, "{ignored:?}");
        assert!(ignored[0].to_string().contains("eu-1"), "{}", ignored[0]);
    }
    let (fleet, ignored) = derived([member("x", "explain", Some("10.0.0.5:80"))]);
    assert_eq!(fleet, derived([]).0);
    assert_eq!(ignored, [Ignored::Name { region: "explain".parse().unwrap() }]);
}

fn secured(name: &str, region: &str, at: &str) -> Member {
    Member { public_tls: Some(at.parse().unwrap()), ..member(name, region, Some("10.0.0.9:80")) }
}

#[test]
fn a_member_is_reached_over_tls_if_it_says_how() {
    let mut members = Members::default();
    members.take(secured("us", "us", "10.0.0.3:7443"));
    members.take(Member { server_name: Some("x".to_owned()), ..secured("sa", "sa", "sa.example:7443") });
    let fleet = effective(&configured(), &members, fit).fleet.unwrap();
    let (us, sa) = (&fleet.regions[1].nodes[0], &fleet.regions[2].nodes[0]);
    assert_eq!(us.at, Endpoint::tls("10.0.0.3:7443".parse().unwrap(), Some("us"), &us.name).unwrap());
    assert_eq!(us.addresses.len(), 2, "another port of the same host");
    assert_eq!(sa.at, Endpoint::tls("sa.example:7443".parse().unwrap(), Some("x"), &sa.name).unwrap());
    assert_eq!(sa.addresses, Vec::<std::net::IpAddr>::new(), "the name is not resolved yet");
    let (fleet, ignored) = derived([
        secured("eu-1", "eu", "0.0.0.0:7443"),
        Member { server_name: Some("not a name".to_owned()), ..secured("eu-2", "eu", "10.0.0.2:7443") },
    ]);
    assert_eq!((fleet, ignored.len()), (derived([]).0, 2));
}

#[test]
fn a_node_that_is_configured_with_tls_is_never_reached_without() {
    let mut configured = configured();
    let node = &mut configured.regions[1].nodes[0];
    node.at = Endpoint::tls("10.0.0.3:7443".parse().unwrap(), None, &node.name).unwrap();
    let plain = member("us", "us", Some("10.0.0.4:80"));
    let found = effective(&configured, &taken([plain.clone()]), fit);
    assert_eq!(found.fleet, Some(configured.clone()));
    let address = "10.0.0.4:80".parse().unwrap();
    assert_eq!(found.ignored.into_iter().collect::<Vec<_>>(), [Ignored::Plain { node: plain.name.clone(), address }]);
    // The same change, as a node of this release shows it, replaces what a node of the release before has shown.
    let whole = Member { public_tls: Some("10.0.0.4:7443".parse().unwrap()), ..plain.clone() };
    for shown in [[plain.clone(), whole.clone()], [whole, plain]] {
        let found = effective(&configured, &taken(shown), fit);
        let node = &found.fleet.unwrap().regions[1].nodes[0];
        assert_eq!((node.at.host().to_string(), node.at.server_name().is_some()), ("10.0.0.4:7443".to_owned(), true));
    }
}

#[test]
fn there_are_never_more_regions_than_indices() {
    let many = (0..80).map(|n| member(&format!("n{n}"), &format!("r{n:02}"), Some("10.0.0.5:80")));
    let (fleet, ignored) = derived(many);
    assert_eq!(fleet.len(), Fleet::MAX_REGIONS);
    assert_eq!(ignored.len(), 80 + 2 - Fleet::MAX_REGIONS);
    assert!(matches!(ignored[0], Ignored::TooMany { .. }));
}

fn change() -> impl Strategy<Value = Member> {
    let names = prop::sample::select(vec!["eu-1", "eu-2", "us", "us-2", "sa", "ap"]);
    let regions = prop::sample::select(vec!["eu", "us", "sa", "ap", "explain"]);
    let addresses = prop::option::of((any::<[u8; 4]>(), 0_u16..3).prop_map(SocketAddr::from));
    let addresses = prop_oneof![addresses, Just(Some("10.0.0.1:80".parse().unwrap()))];
    (names, regions, addresses, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |(name, region, public, removed, position, since)| {
            let base = member(name, region, None);
            let mut at = base.since;
            at.0.0 = since;
            let membership = if removed { Membership::Removed } else { Membership::Member };
            Member { membership, public, since: at, position: position.then_some(AT), ..base }
        },
    )
}

proptest! {
    /// Whatever nodes show, in whatever order, the result is a fleet that a router can use.
    #[test]
    fn any_history_gives_a_usable_fleet(changes in prop::collection::vec(change(), 0..40)) {
        let derive = |changes: &[Member]| {
            let members = taken(changes.iter().cloned());
            (effective(&configured(), &members, fit), members)
        };
        let (found, members) = derive(&changes);
        let left = configured().nodes().any(|id| {
            members.of(&configured().node(id).name).is_none_or(|one| one.membership == Membership::Member)
        });
        prop_assert!(found.fleet.is_some() || !left, "a configured node that was not removed stays");
        prop_assert_eq!(found.fleet.is_none(), found.ignored.contains(&Ignored::NothingLeft));
        let fleet = found.fleet.unwrap_or_else(configured);
        prop_assert!((1..=Fleet::MAX_REGIONS).contains(&fleet.regions.len()));
        let mut regions = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        for region in &fleet.regions {
            prop_assert!(!region.nodes.is_empty() && fit(&region.name) && regions.insert(region.name.clone()));
            prop_assert!(region.weight > 0.0);
            for node in &region.nodes {
                prop_assert!(nodes.insert(node.name.clone()), "one node is in one region");
                let at = node.at.sockets()[0];
                prop_assert!(at.port() != 0 && !at.ip().is_unspecified() && !node.addresses.is_empty());
            }
        }
    }
}
