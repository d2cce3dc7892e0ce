//! The options of EDNS besides the client's subnet, over every transport.

use geo_router::dns::Answers;

use crate::craft::{self, A, TXT, option, option_of, subnet};
use crate::streams::{Client, certificate};
use crate::world::{self, UP, ask, snapshot, view};

const NSID: u16 = 3;
const TCP_KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;

const NAME: &str = "checkin.meridian.test";

/// RFC 5001: the name comes in each answer that asks for it, and in no other.
#[tokio::test]
async fn a_server_tells_its_name_if_it_is_asked() {
    let running = world::start("nsid = 'ns1-fra'\n").await;
    for mut client in [Client::udp(running.udp()).await, Client::tcp(running.udp()).await] {
        let both = [option(NSID, &[]), subnet(1, 24, 0, &[10, 1, 2])].concat();
        for (name, options) in [
            (NAME, option(NSID, &[])),
            (NAME, both.clone()),
            // What the client writes into it is ignored (section 2).
            (NAME, option(NSID, b"somebody")),
            (NAME, option(NSID, &[]).repeat(3)),
            ("nowhere.meridian.test", option(NSID, &[])),
            ("example.org", option(NSID, &[])),
        ] {
            let answer = client.ask(&craft::edns(name, A, &options)).await;
            assert_eq!(option_of(&answer, NSID).as_deref(), Some(&b"ns1-fra"[..]), "{name}");
        }
        let answer = client.ask(&craft::edns(NAME, A, &both)).await;
        assert_eq!(option_of(&answer, 8).unwrap()[..3], [0, 1, 24]);
        for options in [vec![], subnet(1, 24, 0, &[10, 1, 2])] {
            assert_eq!(option_of(&client.ask(&craft::edns(NAME, A, &options)).await, NSID), None);
        }
        assert_eq!(craft::opt_of(&client.ask(&craft::plain(NAME, A)).await), None);
    }
    running.stop().await;
}

#[test]
fn a_server_without_a_name_tells_none() {
    let (_, answer) = ask(&snapshot(UP), [127, 0, 0, 1].into(), &craft::edns(NAME, A, &option(NSID, &[]))).unwrap();
    assert_eq!(craft::opt_of(&answer), Some((0, vec![])));
}

#[test]
fn the_longest_name_leaves_an_answer_within_what_its_client_takes() {
    let name = "n".repeat(64);
    let answers = Answers::build(&world::config(&format!("nsid = '{name}'\n")), view(UP, 30), world::TIME).unwrap();
    let options = [option(NSID, &[]), subnet(2, 128, 0, &[0x20; 16])].concat();
    let opt = craft::opt(512, 0, 0, &options);
    for label in [1, 20, 50] {
        let long = ["l".repeat(label), "l".repeat(60), "l".repeat(60), "l".repeat(50), NAME.to_owned()].join(".");
        let query = [craft::header(0, [1, 0, 0, 1]), craft::question(&long, A), opt.clone()].concat();
        let (answered, answer) = ask(&answers, [127, 0, 0, 1].into(), &query).unwrap();
        assert!(answer.len() <= 512 && !answered.truncated, "{}", answer.len());
        assert_eq!(option_of(&answer, NSID), Some(name.clone().into_bytes()));
    }
}

/// RFC 7828: ten seconds, in each answer over TCP and TLS whose query asks, and in none over UDP.
#[tokio::test]
async fn a_connection_is_told_how_long_it_may_be_idle() {
    let files = certificate();
    let running = world::start(&files.section).await;
    let asks = option(TCP_KEEPALIVE, &[]);
    let tls = Client::tls(running.server.tls_address().unwrap(), &files).await;
    for mut client in [Client::tcp(running.udp()).await, tls] {
        for options in [asks.clone(), asks.repeat(2), option(TCP_KEEPALIVE, &[0, 1]), option(TCP_KEEPALIVE, &[7; 9])] {
            for name in [NAME, "nowhere.meridian.test", "example.org"] {
                let answer = client.ask(&craft::edns(name, A, &options)).await;
                assert_eq!(option_of(&answer, TCP_KEEPALIVE), Some(vec![0, 100]), "{name}");
            }
        }
        let all = [asks.clone(), option(NSID, &[]), subnet(1, 24, 0, &[10, 1, 2])].concat();
        let answer = client.ask(&craft::edns(NAME, A, &all)).await;
        assert_eq!(option_of(&answer, TCP_KEEPALIVE), Some(vec![0, 100]));
        assert!(option_of(&answer, 8).is_some());
        assert_eq!(option_of(&client.ask(&craft::edns(NAME, A, &[])).await, TCP_KEEPALIVE), None);
        assert_eq!(craft::opt_of(&client.ask(&craft::plain(NAME, A)).await), None);
    }
    let answer = Client::udp(running.udp()).await.ask(&craft::edns(NAME, A, &asks)).await;
    assert_eq!(craft::opt_of(&answer), Some((0, vec![])));
    running.stop().await;
}

/// RFC 8467, section 4.1: answers over TLS to queries with the option are multiples of 468 octets. Without TLS, or without
/// the option in the query, there is no padding (RFC 7830, section 4).
#[tokio::test]
async fn only_answers_over_tls_are_padded() {
    let files = certificate();
    let text = format!("{{ name = 'long', type = 'TXT', value = '{}' }}", "x".repeat(200));
    let other = |text: String, with: &str| text.replace("xx", with);
    let records = ["ab", "cd", "ef"].map(|with| other(text.clone(), with)).join(", ");
    let running = world::start(&format!("records = [{records}]\n{}", files.section)).await;
    let mut tls = Client::tls(running.server.tls_address().unwrap(), &files).await;
    let plain = [Client::udp(running.udp()).await, Client::tcp(running.udp()).await];
    let asks = option(PADDING, &[0; 60]);
    let mut lengths = std::collections::BTreeSet::new();
    for name in [NAME, "long.meridian.test", "nowhere.meridian.test", "example.org"] {
        for more in [vec![], option(NSID, &[]), option(TCP_KEEPALIVE, &[]), subnet(1, 24, 0, &[10, 1, 2]), asks.clone()]
        {
            for options in [[&asks[..], &more].concat(), [&more[..], &asks].concat()] {
                let answer = tls.ask(&craft::edns(name, TXT, &options)).await;
                assert!(answer.len().is_multiple_of(468), "{name}: {}", answer.len());
                assert!(option_of(&answer, PADDING).unwrap().iter().all(|octet| *octet == 0));
                lengths.insert(answer.len());
            }
        }
        assert_eq!(option_of(&tls.ask(&craft::edns(name, TXT, &option(NSID, &[]))).await, PADDING), None);
        assert_eq!(craft::opt_of(&tls.ask(&craft::plain(name, TXT)).await), None);
    }
    assert_eq!(lengths, [468, 936].into());
    for mut client in plain {
        let answer = client.ask(&craft::edns(NAME, TXT, &asks)).await;
        assert_eq!(craft::opt_of(&answer), Some((0, vec![])));
    }
    running.stop().await;
}
