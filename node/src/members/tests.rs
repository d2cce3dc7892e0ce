//! Changes read the same everywhere, win over the configuration, and are refused where they would leave clients alone.

use std::collections::BTreeMap;

use api::Position;
use api::members::{Member, Membership, NewMember, RemoveMember};
use api::operators::AuthorError;
use api::orders::OrderKind;
use replication::{Change, Document, Wall};

use super::{Configured, MemberError, Members, key, read, to_public, value};
use crate::config::PeerConfig;
use crate::orders::Order;

const NOW: Wall = Wall(1_780_000_000_000);

fn configured() -> Configured {
    let peer = |name: &str, port: u16| PeerConfig {
        name: name.parse().unwrap(),
        region: name.parse().unwrap(),
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        position: None,
    };
    let peers = vec![peer("us", 7081), peer("ap", 7091)];
    let replication = "127.0.0.1:7071".parse().unwrap();
    Configured { name: "eu".parse().unwrap(), region: "eu".parse().unwrap(), position: position(), replication, peers }
}

fn position() -> Position {
    serde_json::from_str(r#"{"latitude": 1.0, "longitude": 2.0}"#).unwrap()
}

fn new(region: &str, replication: &str) -> NewMember {
    NewMember {
        public_tls: None,
        server_name: None,
        region: region.parse().unwrap(),
        position: Some(position()),
        replication: replication.into(),
        public: Some("127.0.0.9:7080".parse().unwrap()),
        by: "mk".into(),
        reason: "growth".into(),
    }
}

fn removal(force: bool) -> RemoveMember {
    RemoveMember { by: "mk".into(), reason: String::new(), force }
}

fn members(changes: &[Member]) -> Members {
    let changes = changes.iter().map(|change| (change.name.clone(), change.clone()));
    Members::new(&configured(), changes.collect())
}

fn drained(region: &str) -> BTreeMap<api::RegionId, Order> {
    let order =
        Order { kind: OrderKind::Drained, keep: 0, since: NOW, until: None, by: "mk".into(), reason: String::new() };
    BTreeMap::from([(region.parse().unwrap(), order)])
}

fn remove(members: &Members, node: &str, force: bool, least: usize) -> Result<Member, MemberError> {
    members.remove(&configured(), &node.parse().unwrap(), removal(force), NOW, &drained("us"), least)
}

#[test]
fn changes_win_over_the_configuration() {
    let own = configured();
    let before = members(&[]);
    assert_eq!(before.regions.len(), 3);
    let added = before.add(&own, &"sa".parse().unwrap(), new("sa", "sa.example.org:7081"), NOW).unwrap();
    let moved = before.add(&own, &"ap".parse().unwrap(), new("ap", "127.0.0.1:9999"), NOW).unwrap();
    let removed = remove(&before, "us", false, 1).unwrap();
    let after = members(&[added, moved, removed]);
    assert_eq!(after.regions.keys().map(ToString::to_string).collect::<Vec<_>>(), ["ap", "eu", "sa"]);
    assert_eq!(after.peers[&"ap".parse().unwrap()].address.to_string(), "127.0.0.1:9999");
    assert!(!after.is_removed);
}

/// A node that is added knows one of the others, and learns of the rest from the document.
#[test]
fn the_configured_nodes_are_introduced_to_those_that_do_not_know_them() {
    let own = configured();
    let introduced = own.introductions(&BTreeMap::new());
    assert_eq!(introduced.len(), 2, "the peers, and not the node itself");
    let joining =
        Configured { name: "sa".parse().unwrap(), region: "sa".parse().unwrap(), peers: vec![], ..own.clone() };
    let changes: BTreeMap<_, _> = introduced.iter().map(|one| (one.name.clone(), one.clone())).collect();
    assert_eq!(Members::new(&joining, changes.clone()).peers.len(), 2);
    assert!(own.introductions(&changes).is_empty());
    // Where a node is configured, that counts: an address that one node uses may not work from another one.
    let elsewhere = Member { replication: Some("10.0.0.1:7081".into()), ..changes[&"us".parse().unwrap()].clone() };
    assert_eq!(members(&[elsewhere]).peers, members(&[]).peers);
}

#[test]
fn changes_ordered_in_two_places_at_once_read_the_same_everywhere() {
    let own = configured();
    let first = members(&[]).add(&own, &"sa".parse().unwrap(), new("sa", "127.0.0.1:9001"), NOW).unwrap();
    let second = Member { membership: Membership::Removed, ..first.clone() };
    let changes = [&first, &second].map(|change| Change::create(&key(), &[("sa", value(change))]));
    let [one, other] = changes.clone();
    for order in [[one.clone(), other.clone()], [other, one]] {
        let read = read(&Document::of_changes(&order).unwrap());
        assert_eq!(read.into_values().collect::<Vec<_>>(), std::slice::from_ref(&second));
    }
    let again = members(&[second]).add(&own, &"sa".parse().unwrap(), new("sa", "127.0.0.1:9001"), NOW).unwrap();
    assert!(again.replaces(&first), "a later order counts, even if the clock stood still");
}

#[test]
fn a_field_that_names_another_node_is_no_change() {
    let own = configured();
    let change = members(&[]).add(&own, &"sa".parse().unwrap(), new("sa", "127.0.0.1:9001"), NOW).unwrap();
    let created = Change::create(&key(), &[("us", value(&change))]);
    assert!(read(&Document::of_changes(&[created]).unwrap()).is_empty());
}

#[test]
fn a_node_that_hears_of_its_own_removal_stays_a_peer_and_says_so() {
    let own = Member {
        name: "eu".parse().unwrap(),
        region: "eu".parse().unwrap(),
        ..remove(&members(&[]), "us", true, 1).unwrap()
    };
    let after = members(&[own]);
    assert!(after.is_removed && after.peers.len() == 2);
}

#[test]
fn what_would_leave_clients_alone_is_refused() {
    let members = members(&[]);
    assert_eq!(remove(&members, "ap", false, 1), Err(MemberError::StillServes("ap".parse().unwrap())));
    assert_eq!(remove(&members, "us", false, 3), Err(MemberError::TooFew { least: 3 }));
    assert!(remove(&members, "us", false, 2).is_ok());
    assert!(remove(&members, "ap", true, 3).is_ok());
    assert_eq!(remove(&members, "eu", true, 1), Err(MemberError::Itself));
    assert!(matches!(remove(&members, "xx", true, 1), Err(MemberError::Unknown(_))));
}

#[test]
fn what_is_no_valid_node_is_refused() {
    let (own, members) = (configured(), members(&[]));
    let add = |node: &str, new| members.add(&own, &node.parse().unwrap(), new, NOW).map(|_| ());
    assert_eq!(add("sa", new("sa", "nowhere")), Err(MemberError::Replication));
    assert_eq!(add("sa", new("sa", "127.0.0.1:7081")), Err(MemberError::Taken("us".parse().unwrap())));
    assert_eq!(add("sa", new("sa", "127.0.0.1:7071")), Err(MemberError::Taken("eu".parse().unwrap())));
    assert_eq!(add("us", new("sa", "127.0.0.1:9001")), Err(MemberError::OtherRegion("us".parse().unwrap())));
    for public in ["0.0.0.0:7080", "127.0.0.1:0"] {
        let bad = NewMember { public: Some(public.parse().unwrap()), ..new("sa", "127.0.0.1:9001") };
        assert_eq!(add("sa", bad), Err(MemberError::Public));
    }
    let nowhere = NewMember { position: None, ..new("sa", "127.0.0.1:9001") };
    assert_eq!(add("sa", nowhere), Err(MemberError::Position));
    let nobody = NewMember { by: " ".into(), ..new("sa", "127.0.0.1:9001") };
    assert_eq!(add("sa", nobody), Err(AuthorError::By.into()));
}

#[test]
fn the_public_sees_neither_replication_addresses_nor_authors() {
    let own = configured();
    let change = members(&[]).add(&own, &"sa".parse().unwrap(), new("sa", "10.1.2.3:7081"), NOW).unwrap();
    let text = serde_json::to_string(&to_public(&change)).unwrap();
    assert!(!text.contains("10.1.2.3") && !text.contains("mk") && !text.contains("growth"), "{text}");
}
