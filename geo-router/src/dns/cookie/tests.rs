//! The test vectors of RFC 9018, appendix A, and how long a cookie holds.

use std::net::IpAddr;

use data_encoding::HEXLOWER;

use super::{AHEAD, Checked, Cookie, CookieSecretError, CookieSecrets, HOLDS, Proof, RENEWED, is_signed};

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

fn secrets(lines: &str) -> CookieSecrets {
    CookieSecrets::parse(lines.as_bytes()).unwrap()
}

fn cookie(hex: &str) -> Cookie {
    Cookie::read(&HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap()
}

fn check(secrets: &CookieSecrets, hex: &str, from: &str, now: u32) -> (Proof, String) {
    let Checked { proof, answer } = secrets.check(&cookie(hex), from.parse().unwrap(), now);
    (proof, HEXLOWER.encode(&answer))
}

/// A.1: learning a new server cookie.
#[test]
fn a_client_without_a_cookie_gets_one() {
    let answer = "2464c4abcf10c957010000005cf79f111f8130c3eee29480".to_owned();
    assert_eq!(check(&secrets(SECRET), "2464c4abcf10c957", "198.51.100.100", 1_559_731_985), (Proof::New, answer));
}

/// A.2: the same client learning a renewed server cookie, because its own is 40 minutes old.
#[test]
fn an_older_cookie_is_good_and_renewed() {
    let old = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
    let new = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
    let secrets = secrets(SECRET);
    assert_eq!(check(&secrets, old, "198.51.100.100", 1_559_734_385), (Proof::Good, new.to_owned()));
    // Within half an hour it stays as it is.
    assert_eq!(check(&secrets, old, "198.51.100.100", 1_559_731_985 + RENEWED as u32), (Proof::Good, old.to_owned()));
    assert_ne!(check(&secrets, old, "198.51.100.100", 1_559_731_986 + RENEWED as u32).1, old);
}

/// A.3: another client learning a renewed server cookie. The reserved octets of its own are set and count.
#[test]
fn reserved_octets_are_part_of_the_hash_and_not_sent_again() {
    let old = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
    let new = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
    let (secrets, from) = (secrets(SECRET), "203.0.113.203");
    // The cookie of the vector is older than the hour of section 4.3, so its hash is good and the cookie is not.
    assert_eq!(check(&secrets, old, from, 1_559_734_700), (Proof::Bad, new.to_owned()));
    let Cookie { client, server: Some(server) } = cookie(old) else { unreachable!() };
    assert!(is_signed(&secrets.signs, &client, &server, from.parse().unwrap()));
    let (proof, answer) = check(&secrets, old, from, 1_559_727_985);
    assert_eq!((proof, &answer[16..24]), (Proof::Good, "01000000"));
}

/// A.4: IPv6 query with rolled over secret.
#[test]
fn the_secret_before_is_still_accepted() {
    let old = "22681ab97d52c298010000005cf7c57926556bd0934c72f8";
    let new = "22681ab97d52c298010000005cf7c609a6bb79d16625507a";
    let from = "2001:db8:220:1:59de:d0f4:8769:82b8";
    let both = secrets("445536bcd2513298075a5d379663c962\ndd3bdf9344b678b185a6f5cb60fca715\n");
    assert_eq!(check(&both, old, from, 1_559_741_961), (Proof::Good, new.to_owned()));
    let alone = secrets("445536bcd2513298075a5d379663c962");
    assert_eq!(check(&alone, old, from, 1_559_741_961), (Proof::Bad, new.to_owned()));
}

#[test]
fn a_cookie_holds_for_an_hour_at_one_address_and_for_one_client() {
    let secrets = secrets(SECRET);
    let [here, there]: [IpAddr; 2] = ["198.51.100.1", "198.51.100.2"].map(|one| one.parse().unwrap());
    // Also across the end of 32 bits (RFC 1982).
    for now in [1_559_731_985, 0, 100, u32::MAX, u32::MAX - 100] {
        let made = secrets.check(&Cookie { client: [7; 8], server: None }, here, now).answer;
        let good = Cookie::read(&made).unwrap();
        let proof = |cookie: Cookie, from, at: i32| secrets.check(&cookie, from, now.wrapping_add_signed(at)).proof;
        for (at, expected) in [
            (0, Proof::Good),
            (HOLDS, Proof::Good),
            (HOLDS + 1, Proof::Bad),
            (-AHEAD, Proof::Good),
            (-AHEAD - 1, Proof::Bad),
            (i32::MIN, Proof::Bad),
            (i32::MAX, Proof::Bad),
        ] {
            assert_eq!(proof(good, here, at), expected, "{now} {at}");
        }
        assert_eq!(proof(good, there, 0), Proof::Bad);
        assert_eq!(proof(Cookie { client: [8; 8], ..good }, here, 0), Proof::Bad);
        for bit in 0..128 {
            let mut server = good.server.unwrap();
            server[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(proof(Cookie { server: Some(server), ..good }, here, 0), Proof::Bad, "{bit}");
        }
    }
}

/// RFC 7873, section 5.2.2.
#[test]
fn only_the_lengths_of_cookies_are_read() {
    for length in 0..60 {
        let is_good = length == 8 || (16..=40).contains(&length);
        assert_eq!(Cookie::read(&vec![1; length]).is_some(), is_good, "{length}");
    }
    // Cookies of other servers, of other lengths and versions, are none of ours.
    for length in 16..=40 {
        let read = Cookie::read(&vec![1; length]).unwrap();
        assert_eq!(secrets(SECRET).check(&read, [192, 0, 2, 1].into(), 0x0101_0101).proof, Proof::Bad);
    }
}

#[test]
fn a_file_has_one_to_three_secrets() {
    let [a, b] = [SECRET, "445536BCD2513298075A5D379663C962"];
    for good in [a.to_owned(), format!("{a}\n"), format!(" {a}\r\n{b}\n"), format!("{a}\n{b}\n{a}")] {
        assert_eq!(CookieSecrets::parse(good.as_bytes()).unwrap().signs[0], 0xE5, "{good}");
    }
    for bad in
        [String::new(), "\n".into(), a[1..].into(), a.repeat(2), format!("{a}\n\n{b}"), format!("{a}\n").repeat(4)]
    {
        assert!(CookieSecrets::parse(bad.as_bytes()).is_none(), "{bad:?}");
    }
    let random = CookieSecrets::random();
    assert_ne!(random, CookieSecrets::random());
    assert_eq!(format!("{random:?}"), "CookieSecrets(..)");
    let missing = CookieSecrets::load("/nowhere/at/all".as_ref());
    assert!(matches!(missing, Err(CookieSecretError::File(_))));
}
