//! Lies about documents: what a certified peer can do to them, and what it cannot.

use replication::{
    Body, Bounds, Change, Collection, Delta, Document, DocumentId, DocumentKey, DocumentName, Dot, Hlc, Reason,
    TenantId, Value, Wall, Write, WriteError,
};

use crate::world::{LIAR, World, config};

/// Tells both honest regions the same, because each takes back what the liar said of its log to the other one alone.
fn tell(world: &mut World, through: u64, entries: &[Delta]) {
    for to in 0..2 {
        world.lie(to, &World::deltas(LIAR, through, entries.to_vec())).unwrap();
    }
}

fn entry(seq: u64, key: DocumentKey, body: Body) -> Delta {
    Delta { dot: Dot { origin: LIAR, seq }, hlc: Hlc::default(), key, body }
}

/// A certified peer can erase; the contract allows that. The others agree on the erasure and go on.
#[test]
fn an_erasure_of_a_peer_is_the_same_everywhere() {
    let mut world = World::new();
    let erased = world.taken.remove(0);
    let key = erased.name.expiring(erased.name.id.arrival().plus(config(0).max_retention));
    let body = Body::Erased(Reason::Subject);
    world.lie(0, &World::deltas(LIAR, 1, vec![entry(1, key, body)])).unwrap();
    world.holds(3);
    assert!(world.rows(&erased).iter().all(Option::is_none));
}

/// Only the creating change sets a venue's owner key. A certified peer can replace or remove the value that the field
/// shows. Readers take the value that the creation put (`node::registry::venue`), and that stays, also in a compacted
/// row.
///
/// The liar can still create the venue a second time. Nothing tells which of two creations was the first, so the liar's
/// key opens the venue as well. The owner's key keeps working.
#[test]
fn only_a_creation_sets_an_owner_key() {
    let mut world = World::new();
    let name = DocumentName { collection: Collection(1), tenant: TenantId([7; 16]), id: DocumentId([7; 16]) };
    let key = name.expiring(Wall::NEVER);
    let (owner, thief) = (Value::Bytes(vec![5; 32]), Value::Bytes(vec![6; 32]));
    let create = |of: &Value| Change::create(&key, &[("n", Value::Text("Anker".to_owned())), ("k", of.clone())]);
    let now = world.now();
    world.honest[0].replica.handle_write(now, Write::Change { key, change: create(&owner) }).unwrap();
    world.run(20);

    // Enough changes that the row is compacted.
    let mut changes = vec![create(&owner)];
    for number in 0..21 {
        let stolen = (number % 2 == 0).then(|| thief.clone());
        changes.extend(Document::of_changes(&changes).unwrap().amend(&key, &[("k", stolen)]));
    }
    let later = (1..).zip(changes.into_iter().skip(1));
    let entries: Vec<Delta> = later.map(|(seq, change)| entry(seq, key, Body::Change(change))).collect();
    tell(&mut world, 21, &entries);
    world.holds(3);
    for row in world.rows(&key) {
        let row = row.unwrap();
        assert!(!row.wants_compaction());
        let document = row.document().unwrap();
        assert_eq!(document.all("k"), [&thief], "the lie has come");
        assert_eq!(document.created("k"), [&owner]);
    }

    tell(&mut world, 22, &[entry(22, key, Body::Change(create(&thief)))]);
    world.holds(3);
    for row in world.rows(&key) {
        let document = row.unwrap().document().unwrap();
        let keys = document.created("k");
        assert!(keys.len() == 2 && keys.contains(&&owner) && keys.contains(&&thief), "{keys:?}");
    }
}

/// A certified peer can fill a document up to the bound of local writes. Honest replicas then refuse corrections of it.
/// Its earlier content stays, and it can be erased.
#[test]
fn a_document_that_a_peer_has_filled_can_be_erased() {
    let mut world = World::new();
    let full = world.taken[0];
    let most = u64::try_from(Bounds::EXPIRING.changes).unwrap();
    let change = |seq: u64| Change::create(&full, &[("n", Value::Text(format!("lie {seq}")))]);
    let entries: Vec<Delta> = (1..=most).map(|seq| entry(seq, full, Body::Change(change(seq)))).collect();
    tell(&mut world, most, &entries);
    world.holds(3);
    let now = world.now();
    for (at, row) in world.rows(&full).into_iter().enumerate() {
        let document = row.unwrap().document().unwrap();
        assert_eq!(document.all("name"), [&Value::Text("Anna".to_owned())]);
        let change = document.amend(&full, &[("name", Some(Value::Text("Anne".to_owned())))]).unwrap();
        let refused = world.honest[at].replica.handle_write(now, Write::Change { key: full, change });
        assert!(matches!(refused, Err(WriteError::Full)), "{refused:?}");
    }
    world.taken.remove(0);
    let erase = Write::Erase { name: full.name, lasting: false, reason: Reason::Subject };
    world.honest[1].replica.handle_write(now, erase).unwrap();
    world.holds(3);
    assert!(world.rows(&full).iter().all(Option::is_none));
}
