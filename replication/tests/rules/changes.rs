//! Changes and frames against Automerge itself, against damage, and against their budget on the wire.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use automerge::transaction::{CommitOptions, Transactable as _};
use automerge::{ActorId, Automerge, ROOT};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replication::{
    Body, Change, Collection, Delta, Deltas, Document, DocumentId, DocumentKey, DocumentName, Dot, Frame, Hlc, Reason,
    ReplicaId, TenantId, Value, Wall,
};

const FIRST: [&str; 12] =
    ["Zoë", "Jürgen", "Søren", "Anna", "Nguyễn", "Łukasz", "Maria", "Ane", "José", "Ærø", "Lena", "Mehmet"];
const LAST: [&str; 12] = [
    "Müller",
    "O’Connor",
    "Papadopoulos",
    "Yılmaz",
    "Schmidt",
    "Nowak",
    "Jensen",
    "García",
    "Weiß",
    "Dvořák",
    "Rossi",
    "Li",
];
const STREETS: [&str; 6] = ["Königstraße", "Marktplatz", "Hauptstraße", "Schillerweg", "Am Ring", "Lange Gasse"];

/// A check-in as a guest types it: about 230 bytes of JSON, eight fields.
fn visit(rng: &mut StdRng) -> Vec<(&'static str, Value)> {
    let text = |text: String| Value::Text(text);
    let mut pick = |from: &[&str]| from[rng.random_range(0..from.len())].to_owned();
    let (name, street) = (format!("{} {}", pick(&FIRST), pick(&LAST)), pick(&STREETS));
    vec![
        ("a", text(format!("Tisch {}", rng.random_range(1..40)))),
        ("0n", text(name.clone())),
        ("0p", text(format!("+49 {} {}", rng.random_range(151..180), rng.random_range(1_000_000..9_999_999)))),
        ("0e", text(format!("{}{}@example.org", name.to_lowercase().replace(' ', "."), rng.random_range(1..99)))),
        ("0s", text(format!("{street} {}", rng.random_range(1..200)))),
        ("0z", text(format!("{}", rng.random_range(10_000..99_999)))),
        ("0c", text("Stuttgart".to_owned())),
        ("l", Value::Int(1_800_000_000_000 + rng.random_range(0..7_200_000))),
    ]
}

fn key(rng: &mut StdRng) -> DocumentKey {
    let arrival = Wall(1_800_000_000_000 + rng.random_range(0..2_000));
    let mut rest = [0; 10];
    rng.fill(&mut rest);
    let tenant = TenantId([rng.random_range(0..8); 16]);
    DocumentName { collection: Collection(2), tenant, id: DocumentId::arriving(arrival, rest) }
        .expiring(arrival.plus(Duration::from_hours(336)))
}

fn deltas(count: u64, seed: u64) -> Deltas {
    let mut rng = StdRng::seed_from_u64(seed);
    let origin = ReplicaId(rng.random());
    let mut hlc = Hlc::default();
    let entries = (1..=count).map(|seq| {
        let key = key(&mut rng);
        hlc = hlc.tick(Wall(1_800_000_000_000 + seq / 3));
        let body = Body::Change(Change::create(&key, &visit(&mut rng)));
        Delta { dot: Dot { origin, seq }, hlc, key, body }
    });
    Deltas { origin, after: 0, through: count, heads: None, entries: entries.collect() }
}

/// The crate builds changes without a document. Automerge must give the very same bytes for the same change.
#[test]
fn building_without_a_document_gives_the_bytes_of_a_transaction() {
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        let (key, fields) = (key(&mut rng), visit(&mut rng));
        let ours = Change::create(&key, &fields);
        let parsed = automerge::Change::try_from(ours.bytes()).unwrap();
        let mut document = Automerge::new();
        document.set_actor(ActorId::from(parsed.actor_id().to_bytes()));
        let commit = CommitOptions::default().with_time(0);
        document
            .transact_with::<_, _, automerge::AutomergeError, _>(
                |_| commit,
                |tx| {
                    for (field, value) in &fields {
                        match value {
                            Value::Text(text) => tx.put(ROOT, *field, text.as_str())?,
                            Value::Int(int) => tx.put(ROOT, *field, *int)?,
                            Value::Bytes(bytes) => tx.put(ROOT, *field, bytes.clone())?,
                        }
                    }
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(document.get_last_local_change().unwrap().raw_bytes(), ours.bytes());
    }
}

/// A correction built from the document that readers see is the one that Automerge would make. Concurrent ones both
/// show.
#[test]
fn corrections_merge_and_concurrent_ones_both_show() {
    let mut rng = StdRng::seed_from_u64(8);
    let (key, fields) = (key(&mut rng), visit(&mut rng));
    let create = Change::create(&key, &fields);
    let document = Document::of_changes(std::slice::from_ref(&create)).unwrap();
    let correct = |phone: &str| document.amend(&key, &[("0p", Some(Value::Text(phone.to_owned())))]).unwrap();
    let (one, two) = (correct("1"), correct("2"));
    assert_eq!(one, correct("1"), "the same correction is the same change");
    for order in [[&create, &one, &two], [&two, &create, &one], [&one, &two, &create]] {
        let merged = Document::of_changes(&order.map(Clone::clone)).unwrap();
        let mut phones: Vec<_> = merged.all("0p").into_iter().map(|v| v.as_text().unwrap()).collect();
        phones.sort_unstable();
        assert_eq!(phones, ["1", "2"]);
        let settled = merged.amend(&key, &[("0p", Some(Value::Text("3".to_owned())))]).unwrap();
        let after = Document::of_changes(&[create.clone(), one.clone(), two.clone(), settled]).unwrap();
        assert_eq!(after.all("0p"), [&Value::Text("3".to_owned())]);
    }
    let waiting = Document::of_changes(std::slice::from_ref(&one)).unwrap();
    assert!(waiting.is_empty(), "a correction shows only once its check-in is there");
}

#[test]
fn a_flipped_bit_of_a_change_is_refused() {
    let mut rng = StdRng::seed_from_u64(9);
    let (key, fields) = (key(&mut rng), visit(&mut rng));
    let change = Change::create(&key, &fields);
    assert_eq!(Change::from_foreign(&key, change.bytes().to_vec()).unwrap(), change);
    for bit in 0..change.bytes().len() * 8 {
        let mut damaged = change.bytes().to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Change::from_foreign(&key, damaged).is_err(), "bit {bit}");
    }
    let mut other = key;
    other.expires_at = other.expires_at.plus(Duration::from_millis(1));
    assert!(Change::from_foreign(&other, change.bytes().to_vec()).is_err(), "a change belongs to one key");
}

#[test]
fn frames_come_back_as_they_were_and_damage_never_panics() {
    let gone = [
        Body::Tombstone(Reason::Subject),
        Body::Tombstone(Reason::Owner),
        Body::Erased(Reason::Subject),
        Body::Erased(Reason::Owner),
    ];
    for count in [0, 1, 7, 256] {
        let mut deltas = deltas(count, count);
        for (at, delta) in deltas.entries.iter_mut().enumerate().filter(|(at, _)| at % 3 > 0) {
            delta.body = gone[at % gone.len()].clone();
        }
        let frame = Frame::Deltas(deltas);
        assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
    }
    let frame = Frame::Deltas(deltas(5, 3));
    let bytes = frame.encode();
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..damaged.len());
            damaged[at] = rng.random();
        }
        damaged.truncate(rng.random_range(0..=damaged.len()));
        // A damaged frame that still decodes must at least hold changes that are addressed by their content.
        if let Ok(Frame::Deltas(deltas)) = Frame::decode(&damaged) {
            for delta in deltas.entries {
                if let Body::Change(change) = delta.body {
                    assert!(Change::from_foreign(&delta.key, change.bytes().to_vec()).is_ok());
                }
            }
        }
    }
}

/// At most 100 bytes per check-in in batches of 100.
#[test]
fn a_batch_of_a_hundred_check_ins_keeps_its_budget() {
    for (count, budget) in [(10u64, 160.0), (100, 100.0), (256, 96.0)] {
        let bytes = Frame::Deltas(deltas(count, 11)).encode().len() as f64 / count as f64;
        println!("{count} check-ins in a frame: {bytes:.1} bytes each");
        assert!(bytes <= budget, "{bytes:.1} bytes per check-in in a batch of {count}");
    }
}
