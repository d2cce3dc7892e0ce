//! Cookies over every transport: who has one is spared by the rate limit, and all servers with one secret accept it.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::craft::{self, A, option, option_of, subnet};
use crate::streams::{Client, certificate};
use crate::world::{self, Running, TIME, UP, ask, snapshot};

const COOKIE: u16 = 10;
const NAME: &str = "checkin.meridian.test";

fn with(cookie: &[u8]) -> Vec<u8> {
    craft::edns(NAME, A, &option(COOKIE, cookie))
}

/// The cookie that a client of this one gets.
async fn learn(client: &mut Client, cookie: &[u8]) -> Vec<u8> {
    let answer = client.ask(&with(cookie)).await;
    option_of(&answer, COOKIE).expect("a cookie")
}

fn is_truncated(answer: &[u8]) -> bool {
    answer[2] & 0x02 != 0
}

/// Asks until an answer is truncated, without records, because the client is above the limit.
async fn until_truncated(client: &mut Client, query: &[u8]) -> Vec<u8> {
    for _ in 0..1_000 {
        let answer = client.ask(query).await;
        if is_truncated(&answer) {
            assert_eq!(answer[6..8], [0, 0]);
            return answer;
        }
    }
    panic!("nothing is limited");
}

/// A server with these secrets in a file.
async fn sharing(lines: &str) -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cookies");
    std::fs::write(&path, lines).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    (world::start(&format!("cookie_secret_file = {path:?}\n")).await, folder)
}

#[tokio::test]
async fn a_client_gets_a_cookie_and_keeps_it_over_every_transport() {
    let files = certificate();
    let running = world::start(&files.section).await;
    let mut udp = Client::udp(running.udp()).await;
    let cookie = learn(&mut udp, &[7; 8]).await;
    assert_eq!((cookie.len(), &cookie[..12]), (24, &[7, 7, 7, 7, 7, 7, 7, 7, 1, 0, 0, 0][..]));
    let tls = Client::tls(running.server.tls_address().unwrap(), &files).await;
    for client in [&mut udp, &mut Client::tcp(running.udp()).await, &mut { tls }] {
        assert_eq!(learn(client, &cookie).await, cookie);
        // Another client cookie, and a cookie that is not ours, get a good one.
        for other in
            [[&[8; 8], &cookie[8..]].concat(), [&cookie[..8], &[1; 16]].concat(), [&cookie[..8], &[1; 8]].concat()]
        {
            let new = learn(client, &other).await;
            assert_eq!(new[..8], other[..8]);
            assert_eq!(learn(client, &new).await, new);
        }
        let both = [option(COOKIE, &cookie), subnet(1, 24, 0, &[10, 1, 2])].concat();
        let answer = client.ask(&craft::edns(NAME, A, &both)).await;
        assert_eq!(option_of(&answer, COOKIE), Some(cookie.clone()));
        assert_eq!(option_of(&answer, 8).unwrap()[..3], [0, 1, 24]);
        assert_eq!(option_of(&client.ask(&craft::edns(NAME, A, &[])).await, COOKIE), None);
    }
    running.until("cookies_total", &[("transport", "udp"), ("proof", "new")], 1.0).await;
    running.until("cookies_total", &[("transport", "udp"), ("proof", "bad")], 3.0).await;
    running.until("cookies_total", &[("transport", "udp"), ("proof", "good")], 5.0).await;
    running.stop().await;
}

/// The rate limit is one answer per second, and every answer above it is truncated.
#[tokio::test]
async fn a_good_cookie_is_spared_by_the_rate_limit() {
    let running = world::start("rate_limit = { responses_per_second = 1, slip = 1, exempt = [] }\n").await;
    let mut client = Client::udp(running.udp()).await;
    until_truncated(&mut client, &craft::plain(NAME, A)).await;
    // The answer above the limit already has a cookie, with which the client gets through.
    let answer = until_truncated(&mut client, &with(&[7; 8])).await;
    let cookie = option_of(&answer, COOKIE).expect("a cookie");
    for _ in 0..50 {
        let answer = client.ask(&with(&cookie)).await;
        assert!(!is_truncated(&answer) && answer[7] == 2, "a good cookie is above no limit");
    }
    for bad in [&[7; 8][..], &[7; 24], &[&[8; 8], &cookie[8..]].concat()] {
        until_truncated(&mut client, &with(bad)).await;
    }
    until_truncated(&mut client, &craft::plain(NAME, A)).await;
    running.stop().await;
}

/// RFC 7873, section 5.4.
#[tokio::test]
async fn a_query_for_a_cookie_alone_gets_one() {
    let running = world::start("").await;
    let mut client = Client::udp(running.udp()).await;
    let query = [craft::header(0, [0, 0, 0, 1]), craft::opt(1_232, 0, 0, &option(COOKIE, &[7; 8]))].concat();
    let answer = client.ask(&query).await;
    assert_eq!((answer[3] & 0x0F, &answer[4..12]), (0, &[0, 0, 0, 0, 0, 0, 0, 1][..]));
    let cookie = option_of(&answer, COOKIE).unwrap();
    assert_eq!(learn(&mut client, &cookie).await, cookie);
    running.stop().await;
}

#[tokio::test]
async fn servers_with_one_secret_accept_the_cookies_of_each_other() {
    let [old, new] = ["000102030405060708090a0b0c0d0e0f", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"];
    let (one, _one) = sharing(old).await;
    let (other, _other) = sharing(&format!("{old}\n")).await;
    let (next, _next) = sharing(&format!("{new}\n{old}\n")).await;
    let alone = world::start("").await;
    let cookie = learn(&mut Client::udp(one.udp()).await, &[7; 8]).await;
    assert_eq!(learn(&mut Client::udp(other.udp()).await, &cookie).await, cookie);
    // While secrets are replaced, cookies of the old one are good, and a new one is given.
    assert_ne!(learn(&mut Client::udp(next.udp()).await, &cookie).await, cookie);
    assert_ne!(learn(&mut Client::udp(alone.udp()).await, &cookie).await, cookie);
    for (running, proof) in [(&other, "good"), (&next, "good"), (&alone, "bad")] {
        running.until("cookies_total", &[("proof", proof)], 1.0).await;
    }
    for running in [one, other, next, alone] {
        running.stop().await;
    }
}

#[test]
fn a_broken_query_gets_no_cookie() {
    let both = [option(COOKIE, &[7; 8]), subnet(3, 24, 0, &[10, 1, 2])].concat();
    let (_, answer) = ask(&snapshot(UP), [127, 0, 0, 1].into(), &craft::edns(NAME, A, &both)).unwrap();
    assert_eq!((answer[3] & 0x0F, craft::opt_of(&answer)), (1, Some((0, vec![]))));
    let (_, good) = ask(&snapshot(UP), [127, 0, 0, 1].into(), &with(&[7; 8])).unwrap();
    assert_eq!(option_of(&good, COOKIE).unwrap()[12..16], TIME.to_be_bytes());
}
