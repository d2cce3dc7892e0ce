//! Answers with the addresses of several regions: the client's own first, and only regions that may get new clients.

use std::sync::Arc;
use std::time::Duration;

use api::explanation::RegionState::{self, Down, Drained, Maintenance, Ramping, Unknown, Up};
use geo_router::dns::Answers;
use geo_router::view::View;
use hickory_proto::op::Message;
use tokio::time::timeout;

use crate::craft::{self, A, AAAA};
use crate::streams::Client;
use crate::world::{self, AP, EU, UP, US, ask, view};

/// Answers with up to this number of regions, of a view that `change` makes.
fn answers(regions: usize, states: [RegionState; 3], change: impl FnOnce(&mut View)) -> Answers {
    let mut view = Arc::into_inner(view(states, 30)).unwrap();
    change(&mut view);
    Answers::build(&world::config(&format!("regions_per_answer = {regions}\n")), Arc::new(view), world::TIME).unwrap()
}

/// The regions of an answer to a client, in the order of its records; each has two nodes.
fn regions(answers: &Answers, client: [u8; 3], kind: u16) -> Vec<usize> {
    let query = craft::edns("checkin.meridian.test", kind, &craft::subnet(1, 24, 0, &client));
    regions_of(&ask(answers, [127, 0, 0, 1].into(), &query).unwrap().1)
}

fn regions_of(answer: &[u8]) -> Vec<usize> {
    let message = Message::from_vec(answer).unwrap();
    let records: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    let of = |region: usize, node: usize| {
        [format!("192.0.2.{}", 16 * (region + 1) + node), format!("2001:db8::{}:{node}", region + 1)]
    };
    let pair = |pair: &[String]| {
        let found = (0..3).find(|region| of(*region, 1).contains(&pair[0]) && of(*region, 2).contains(&pair[1]));
        found.unwrap_or_else(|| panic!("{records:?}"))
    };
    records.chunks(2).map(pair).collect()
}

const EUROPEAN: [u8; 3] = [127, 0, 0];
const AMERICAN: [u8; 3] = [10, 1, 2];
const ASIAN: [u8; 3] = [11, 1, 2];

#[test]
fn the_own_region_is_first_and_the_next_ones_follow_in_order() {
    for (most, american, asian) in [
        (1, &[US][..], &[AP][..]),
        (2, &[US, EU], &[AP, EU]),
        (3, &[US, EU, AP], &[AP, EU, US]),
        (4, &[US, EU, AP], &[AP, EU, US]),
    ] {
        let answers = answers(most, UP, |_| {});
        for kind in [A, AAAA] {
            assert_eq!(regions(&answers, AMERICAN, kind), american, "{most}");
            assert_eq!(regions(&answers, ASIAN, kind), asian, "{most}");
        }
    }
}

#[test]
fn without_the_key_an_answer_has_one_region() {
    assert_eq!(regions(&world::snapshot(UP), AMERICAN, A), [US]);
}

#[test]
fn a_region_that_gets_no_new_clients_does_not_follow() {
    for (state, follows) in [(Up, true), (Unknown, true), (Down, false), (Drained, false), (Maintenance, false)] {
        let mut states = UP;
        states[EU] = state;
        let answers = answers(3, states, |_| {});
        let expected: &[usize] = if follows { &[US, EU, AP] } else { &[US, AP] };
        assert_eq!(regions(&answers, AMERICAN, A), expected, "{state:?}");
        // Its own clients are elsewhere.
        assert_eq!(regions(&answers, EUROPEAN, A).contains(&EU), follows, "{state:?}");
    }
    let alone = answers(4, [Down, Up, Maintenance], |_| {});
    assert_eq!(regions(&alone, EUROPEAN, A), [US]);
}

/// A region that ramps, fails requests or gives up clients has a share below 1. Clients that take any address of an
/// answer would give it more.
#[test]
fn a_region_with_a_part_of_its_share_gets_no_more_than_that() {
    let part = answers(3, [Ramping, Up, Up], |view| view.regions[EU].admission = 0.1);
    assert_eq!(regions(&part, AMERICAN, A), [US, AP]);
    // A part that all have is no reason: clients then go where they would go otherwise.
    let all = answers(3, [Ramping; 3], |view| view.regions.iter_mut().for_each(|region| region.admission = 0.1));
    assert_eq!(regions(&all, AMERICAN, A), [US, EU, AP]);
    // No client is sent to a region that was added and is not up yet.
    let new = answers(3, [Unknown, Up, Up], |view| view.regions[EU].admission = 0.0);
    assert_eq!(regions(&new, AMERICAN, A), [US, AP]);
    // This router's own probes fail, and the others do not agree yet.
    let silent = answers(3, UP, |view| view.regions[EU].nodes_up = vec![false; 2]);
    assert_eq!(regions(&silent, AMERICAN, A), [US, AP]);
}

#[test]
fn if_health_is_ignored_no_region_follows() {
    let answers = answers(3, [Down; 3], |view| view.fail_open = true);
    assert_eq!(regions(&answers, AMERICAN, A).len(), 1);
}

#[test]
fn another_region_is_no_substitute_for_a_family_that_the_own_one_lacks() {
    let only_v4 = |view: &mut View, region: usize| {
        let mut fleet = world::fleet();
        fleet.regions[region].nodes.iter_mut().for_each(|node| node.addresses.retain(|one| one.is_ipv4()));
        view.fleet = Arc::new(fleet);
    };
    assert!(regions(&answers(3, UP, |view| only_v4(view, US)), AMERICAN, AAAA).is_empty());
    let without = answers(3, UP, |view| only_v4(view, EU));
    assert_eq!(regions(&without, AMERICAN, AAAA), [US, AP]);
    assert_eq!(regions(&without, AMERICAN, A), [US, EU, AP]);
}

/// Regions that do not fit are left out from the end, and only the own region is a reason to ask again over TCP.
#[test]
fn further_regions_never_truncate_an_answer() {
    // 16 octets for each address: 20 addresses of each region.
    let many = answers(3, UP, |view| {
        let mut fleet = world::fleet();
        for (at, region) in fleet.regions.iter_mut().enumerate() {
            region.nodes[0].addresses = (1..=20).map(|host| [198, 51, at as u8, host].into()).collect();
            region.nodes[1].addresses.clear();
        }
        view.fleet = Arc::new(fleet);
    });
    for (payload, expected) in [(512, 20), (717, 40), (1_100, 60), (1_232, 60), (65_535, 60)] {
        let opt = craft::opt(payload, 0, 0, &[]);
        let query = [craft::header(0, [1, 0, 0, 1]), craft::question("checkin.meridian.test", A), opt].concat();
        let (answered, octets) = ask(&many, [127, 0, 0, 1].into(), &query).unwrap();
        let message = Message::from_vec(&octets).unwrap();
        assert_eq!((message.answers.len(), answered.truncated), (expected, false), "{payload}");
        assert!(octets.len() <= usize::from(payload.min(1_232)));
        let first = message.answers[0].data.to_string();
        assert!(first.starts_with("198.51.0."), "the own region is first: {first}");
    }
}

#[tokio::test]
async fn over_every_transport_a_region_that_goes_leaves_the_answers() {
    let running = world::start("regions_per_answer = 2\n").await;
    let query = craft::edns("checkin.meridian.test", A, &craft::subnet(1, 24, 0, &AMERICAN));
    let mut clients = [Client::udp(running.udp()).await, Client::tcp(running.udp()).await];
    for client in &mut clients {
        assert_eq!(regions_of(&client.ask(&query).await), [US, EU]);
    }
    running.views.send(view([Drained, Up, Up], 30)).unwrap();
    for client in &mut clients {
        let changed = async { while regions_of(&client.ask(&query).await) != [US, AP] {} };
        timeout(Duration::from_secs(20), changed).await.expect("the new view is answered");
    }
    running.until("answers_total", &[("region", "eu-central")], 0.0).await;
    running.stop().await;
}
