//! The server as a whole: views change, limits hold, its ports are exclusive, it stops.

use std::time::Duration;

use geo_router::dns::DnsError;
use tokio::time::timeout;

use crate::addresses;
use crate::craft::{self, A, TXT};
use crate::streams::Client;
use crate::world::{self, UP, US_DOWN, ask, snapshot, view};

fn from_us(kind: u16) -> Vec<u8> {
    craft::edns("checkin.meridian.test", kind, &craft::subnet(1, 24, 0, &[10, 1, 2]))
}

#[tokio::test]
async fn a_new_view_changes_the_answer_and_not_the_scope() {
    let running = world::start("").await;
    let mut client = Client::udp(running.udp()).await;
    let before = client.ask(&from_us(A)).await;
    assert_eq!(before, ask(&snapshot(UP), [127, 0, 0, 1].into(), &from_us(A)).unwrap().1);
    running.views.send(view(US_DOWN, 30)).unwrap();
    let changed = async {
        // How often the old view answers before the new one is built depends on timing.
        let mut old = 1.0;
        loop {
            let answer = client.ask(&from_us(A)).await;
            if answer != before {
                return (answer, old);
            }
            old += 1.0;
        }
    };
    let (after, old) = timeout(Duration::from_secs(20), changed).await.expect("the new view is answered");
    assert_eq!(after, ask(&snapshot(US_DOWN), [127, 0, 0, 1].into(), &from_us(A)).unwrap().1);
    assert_eq!(before[before.len() - 11..], after[after.len() - 11..], "the subnet with its scope");
    running.until("answers_total", &[("region", "us-east"), ("reason", "preferred")], old).await;
    running.stop().await;
}

/// Another fleet is another view: its regions have names, the others have none, and neither has the series of the other.
#[tokio::test]
async fn a_view_of_another_fleet_changes_the_names() {
    let running = world::start("").await;
    let mut client = Client::udp(running.udp()).await;
    client.ask(&from_us(A)).await;
    running.until("answers_total", &[("region", "us-east")], 1.0).await;
    let mut view = std::sync::Arc::into_inner(view(UP, 30)).unwrap();
    let mut fleet = world::fleet();
    fleet.regions[world::US].name = "sa-east".parse().unwrap();
    fleet.regions[world::US].nodes.truncate(1);
    view.regions[world::US].nodes_up.truncate(1);
    view.fleet = std::sync::Arc::new(fleet);
    running.views.send(std::sync::Arc::new(view)).unwrap();
    let named = |name: &str| craft::plain(&format!("{name}.checkin.meridian.test"), A);
    let taken = async {
        while client.ask(&named("sa-east")).await[3] & 0x0F != 0 {}
        (client.ask(&named("us-east")).await, client.ask(&named("sa-east")).await, client.ask(&from_us(A)).await)
    };
    let (old, new, routed) = timeout(Duration::from_secs(20), taken).await.expect("the new fleet is answered");
    assert_eq!((old[3] & 0x0F, old[7]), (3, 0), "NXDOMAIN");
    assert_eq!((new[7], routed[7]), (1, 1), "the addresses of one node");
    running.until("answers_total", &[("region", "sa-east")], 1.0).await;
    running.until("answers_total", &[("region", "us-east")], 0.0).await;
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_truncated_and_whole_over_tcp() {
    let running = world::start("edns_udp_size = 512\n").await;
    let mut udp = Client::udp(running.udp()).await;
    // The explanation of three regions fits into 512 octets, but not together with a long OPT and a full name.
    let mut view = std::sync::Arc::into_inner(view(UP, 30)).unwrap();
    let mut fleet = world::fleet();
    for region in &mut fleet.regions {
        for node in 0..40 {
            region.nodes[0].addresses.push([198, 51, 100, node].into());
        }
    }
    view.fleet = std::sync::Arc::new(fleet);
    running.views.send(std::sync::Arc::new(view)).unwrap();
    let truncated = async {
        loop {
            let answer = udp.ask(&from_us(A)).await;
            if answer[2] & 0x02 != 0 {
                return answer;
            }
        }
    };
    let truncated = timeout(Duration::from_secs(20), truncated).await.expect("too long for UDP");
    assert_eq!(truncated[6..8], [0, 0], "a truncated answer has no records");
    assert_eq!(truncated[11], 1, "with OPT");
    let whole = Client::tcp(running.server.address()).await.ask(&from_us(A)).await;
    assert_eq!(whole[7], 42);
    assert_eq!(whole[2] & 0x02, 0);
    running.stop().await;
}

#[tokio::test]
async fn above_the_limit_every_second_is_sent_to_tcp() {
    let running = world::start("rate_limit = { responses_per_second = 1, slip = 2, exempt = [] }\n").await;
    let mut client = Client::udp(running.udp()).await;
    let query = craft::plain("checkin.meridian.test", A);
    assert_eq!(client.ask(&query).await[2] & 0x02, 0);
    let mut told_to_use_tcp = 0;
    for _ in 0..9 {
        client.send(&query).await;
    }
    while told_to_use_tcp < 3 {
        let answer = client.next().await.unwrap();
        if answer[2] & 0x02 != 0 {
            assert_eq!(answer[6..12], [0; 6]);
            told_to_use_tcp += 1;
        }
    }
    let answer = Client::tcp(running.server.address()).await.ask(&query).await;
    assert_eq!(answer[7], 2, "TCP has no limit");
    running.stop().await;
}

#[tokio::test]
async fn metrics_count_and_name_no_client() {
    let running = world::start("").await;
    let mut client = Client::udp(running.udp()).await;
    client.ask(&from_us(A)).await;
    client.ask(&craft::plain("checkin.meridian.test", A)).await;
    client.ask(&craft::plain("explain.checkin.meridian.test", TXT)).await;
    client.ask(&craft::edns("checkin.meridian.test", A, &craft::subnet(9, 0, 0, &[]))).await;
    client.send(&[1, 2, 3]).await;
    running.until("queries_total", &[("transport", "udp"), ("type", "A")], 3.0).await;
    running.until("responses_total", &[("rcode", "formerr")], 1.0).await;
    running.until("answers_total", &[("region", "eu-central"), ("reason", "preferred")], 1.0).await;
    running.until("client_subnet_total", &[("transport", "udp")], 1.0).await;
    running.until("dropped_total", &[("reason", "short")], 1.0).await;
    running.until("unknown_location_total", &[], 0.0).await;
    let nowhere = craft::edns("checkin.meridian.test", A, &craft::subnet(1, 24, 0, &[192, 168, 1]));
    client.ask(&nowhere).await;
    running.until("unknown_location_total", &[("source", "client-subnet")], 1.0).await;
    let page = prometheus::TextEncoder::new().encode_to_string(&running.registry.gather()).unwrap();
    for secret in ["10.1.2", "127.0.0.1", "192.168.1", "checkin.meridian"] {
        assert!(!page.contains(secret), "{secret}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let running = world::start("").await;
    let taken = |address: std::net::SocketAddr| {
        let mut config = world::config("");
        config.listen = address.into();
        config
    };
    let error = world::try_start(taken(running.udp())).await.err();
    assert!(matches!(error, Some(DnsError::Listen { transport: "tcp", .. })), "{error:?}");
    // Another server that would share the port and has no TCP.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    other.set_reuse_port(true).unwrap();
    // The system would give it a port that a connection of another test may have.
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], addresses::port()));
    other.bind(&address.into()).unwrap();
    let error = world::try_start(taken(address)).await.err();
    assert!(matches!(error, Some(DnsError::Listen { transport: "udp", .. })), "{error:?}");
    running.stop().await;
}

#[tokio::test]
async fn the_server_ends_when_its_stop_channel_is_dropped() {
    let running = world::start("").await;
    let address = running.udp();
    drop(running.stop);
    timeout(Duration::from_secs(20), running.server.stopped()).await.expect("it ends").unwrap();
    assert!(std::net::UdpSocket::bind(address).is_ok(), "the port is free again");
}

#[tokio::test]
async fn without_new_views_the_last_one_holds() {
    let mut running = world::start("").await;
    running.views = tokio::sync::watch::channel(view(UP, 30)).0;
    let mut client = Client::udp(running.udp()).await;
    for _ in 0..3 {
        client.ask(&from_us(A)).await;
    }
    running.stop().await;
}
