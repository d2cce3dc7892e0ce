//! Sealing and opening with keys that are there, destroyed, over or damaged.

use std::time::Duration;

use super::{GENERATION_LEN, Keyring, Opened, TAG_LEN};
use crate::key::{Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::sealing::KeyName;
use crate::time::Wall;

const HOUR: u64 = 3_600_000;
const OVERHEAD: usize = 1 + GENERATION_LEN + TAG_LEN;

fn ring() -> Keyring {
    let mut next = 0_u8;
    let random = move || {
        next += 1;
        [next; 16]
    };
    Keyring::new(Box::new(random), Duration::from_hours(20), Wall::default())
}

/// Arrives in hour 3.
fn key(id: u8, expires: u64) -> DocumentKey {
    let id = DocumentId::arriving(Wall(3 * HOUR), [id; 10]);
    DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id }.expiring(Wall(expires * HOUR))
}

fn begin(ring: &mut Keyring, key: &DocumentKey) {
    let missing: Vec<KeyName> = ring.missing(key).collect();
    for name in missing {
        let file = ring.draw(name);
        assert_eq!(ring.take_up(name, &file).unwrap(), Vec::<u64>::new());
    }
    assert_eq!(ring.missing(key).count(), 0);
}

#[test]
fn a_value_is_read_under_its_own_name_alone() {
    let mut ring = ring();
    begin(&mut ring, &key(1, 9));
    begin(&mut ring, &key(1, 8));
    let sealed = ring.seal(&key(1, 9), b"Ada").unwrap().unwrap();
    assert_eq!(sealed.len(), b"Ada".len() + OVERHEAD);
    assert!(!sealed.windows(3).any(|window| window == b"Ada"));
    assert_eq!(ring.open(&key(1, 9), &sealed), Opened::Value(b"Ada".to_vec()));
    for other in [key(2, 9), key(1, 8), key(1, 7)] {
        assert_eq!(ring.open(&other, &sealed), Opened::Unreadable);
    }
    assert!(ring.seal(&key(1, 7), b"Ada").is_err(), "no secret was drawn");
    for byte in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[byte] ^= 4;
        let opened = ring.open(&key(1, 9), &flipped);
        // Without the first byte it counts as a value from before there was sealing.
        assert_eq!(opened, if byte == 0 { Opened::Value(flipped) } else { Opened::Unreadable }, "byte {byte}");
    }
    assert!((1..OVERHEAD).all(|length| ring.open(&key(1, 9), &sealed[..length]) == Opened::Unreadable));
    assert_eq!(ring.open(&key(1, 9), b"\x00clear"), Opened::Value(b"\x00clear".to_vec()));
}

#[test]
fn an_erased_name_can_be_neither_opened_nor_sealed_whatever_its_expiry() {
    let mut ring = ring();
    let lasting = key(1, 9).name.expiring(Wall::NEVER);
    for key in [key(1, 9), key(1, 11), lasting] {
        begin(&mut ring, &key);
    }
    let sealed =
        [key(1, 9), key(1, 11), key(2, 9), lasting].map(|key| (key, ring.seal(&key, b"Ada").unwrap().unwrap()));
    ring.puncture(&key(1, 9).name, false);
    ring.puncture(&key(1, 9).name, false);
    let opened = sealed.each_ref().map(|(key, sealed)| ring.open(key, sealed));
    let value = || Opened::Value(b"Ada".to_vec());
    assert_eq!(opened, [Opened::Erased, Opened::Erased, value(), value()]);
    assert_eq!(ring.seal(&key(1, 9), b"Eve").unwrap(), None);
    let unwritten = ring.unwritten();
    assert_eq!((unwritten.len(), unwritten[0].overwrite.len()), (1, 1));
    assert!(ring.unwritten().is_empty());
    ring.puncture(&lasting.name, true);
    assert_eq!(ring.open(&lasting, &sealed[3].1), Opened::Erased);
}

#[test]
fn an_hour_that_is_over_stays_so_when_it_gets_a_new_secret() {
    let mut ring = ring();
    begin(&mut ring, &key(1, 9));
    let old = ring.seal(&key(1, 9), b"Ada").unwrap().unwrap();
    assert_eq!(ring.needless(Wall(10 * HOUR - 1)), Vec::new());
    let needless = ring.needless(Wall(10 * HOUR));
    assert_eq!(needless, vec![KeyName::Expiries(9)]);
    assert!(!ring.is_lost(&key(1, 9)));
    ring.expire(Wall(10 * HOUR), &needless);
    assert!(!ring.is_lost(&key(1, 9)) && ring.is_lost(&key(1, 10)));
    assert_eq!(ring.open(&key(1, 9), &old), Opened::Erased);
    begin(&mut ring, &key(1, 9));
    let new = ring.seal(&key(1, 9), b"Eve").unwrap().unwrap();
    let opened = [&old, &new].map(|sealed| ring.open(&key(1, 9), sealed));
    assert_eq!(opened, [Opened::Erased, Opened::Value(b"Eve".to_vec())]);
    // Arrivals of hour 3 may live for 20 hours.
    assert_eq!(ring.needless(Wall(24 * HOUR - 1)), vec![KeyName::Expiries(9)]);
    assert_eq!(ring.needless(Wall(24 * HOUR)), vec![KeyName::Expiries(9), KeyName::Arrivals(3)]);
}

#[test]
fn a_damaged_file_takes_no_document_for_erased() {
    let mut ring = ring();
    begin(&mut ring, &key(1, 9));
    let mut file = ring.draw(KeyName::Arrivals(3));
    ring.take_up(KeyName::Arrivals(3), &file).unwrap();
    let sealed = ring.seal(&key(1, 9), b"Ada").unwrap().unwrap();
    *file.last_mut().unwrap() ^= 1;
    assert!(ring.take_up(KeyName::Arrivals(3), &file).unwrap().is_empty(), "the slot may still be repaired by hand");
    assert_eq!(ring.open(&key(1, 9), &sealed), Opened::Unreadable);
    assert!(ring.seal(&key(1, 9), b"Ada").is_err() && !ring.is_destroyed(&key(1, 9).name, false));
    // Zeros instead of the root, as a disk may give them, and a file without its end.
    let end = file.len();
    file[64..].fill(0);
    for length in [end, 64] {
        ring.take_up(KeyName::Arrivals(3), &file[..length]).unwrap();
        assert!(!ring.is_destroyed(&key(1, 9).name, false) && !ring.is_ahead_of_the_engine());
    }
    file[0] ^= 1;
    assert!(ring.take_up(KeyName::Arrivals(3), &file).is_err());
    assert!(ring.take_up(KeyName::Expiries(3), &file).is_err());
}
