//! The visits of a run, made and read by the registry itself: check-ins are normalised bodies, corrections are merge
//! patches against what a region shows.
//!
//! # Not here
//! The node's judgement of times (a check-in of yesterday is refused): the clocks of a run are wrong on purpose, and the
//! replica's own rules are what is tested.

use std::hash::Hasher as _;
use std::sync::LazyLock;
use std::time::Duration;

use registry::{Person, PolicyPack, Secret, Venue, VenueId, Visit, VisitBody, VisitId, VisitPatch};
use replication::{Change, Document, DocumentKey, Value, Wall};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::index::{OperationIndex, VisitNumber};

/// The pack asks for a name and a way to reach the guest, and lets venues keep visits for seconds.
pub(super) static PACK: LazyLock<PolicyPack> = LazyLock::new(|| {
    PolicyPack::built_in("development").unwrap_or_else(|| unreachable!("every binary carries this pack"))
});

/// The field of the first guest's name.
static FIRST_NAME: LazyLock<&'static str> = LazyLock::new(|| {
    let body =
        VisitBody { persons: vec![Person { name: Some("A".to_owned()), ..Person::default() }], ..VisitBody::default() };
    let fields = body.stored_forms(VisitId::of(Wall(0), &Secret([0; 16]))).into_iter().next().unwrap_or_default();
    fields.first().map_or("", |(name, _)| *name)
});

/// The field of the area, which takes the text of large corrections. The registry would refuse so long a text; a peer of
/// another version may send it.
const AREA: &str = "a";

/// The venue of a number.
pub(super) fn venue_id(venue: u32) -> VenueId {
    let mut id = [0x56; 16];
    id[12..].copy_from_slice(&venue.to_be_bytes());
    VenueId(id)
}

/// The id of a visit. The guest's secret follows from the seed.
pub(super) fn visit_id(seed: u64, visit: VisitNumber, arrived: Wall) -> VisitId {
    let mut hasher = SipHasher13::new_with_keys(seed, u64::from(visit.0));
    hasher.write_u64(arrived.0);
    VisitId::of(arrived, &Secret(hasher.finish128().as_bytes()))
}

/// The key of a visit's document.
pub(super) fn key(id: VisitId, venue: u32, retention: Duration) -> DocumentKey {
    id.name(venue_id(venue)).expiring(id.arrival().plus(retention))
}

/// The mark in the name of every person of a visit, so that a byte of it is recognised wherever it lies. Every change of
/// a visit carries a name.
pub(crate) fn canary(visit: VisitNumber) -> String {
    format!("canary-{:08x};", visit.0)
}

/// The body of a check-in: the same wherever and however often it is sent. `other` is another one under the same id.
pub(super) fn body(visit: VisitNumber, other: bool) -> VisitBody {
    let guest = Person {
        name: Some(format!("{}{} Musterfrau", canary(visit), if other { "Mia" } else { "Maria" })),
        phone: Some(format!("+49 30 {:06}", visit.0)),
        ..Person::default()
    };
    VisitBody { persons: vec![guest], ..VisitBody::default() }
}

/// The change of a check-in: the same wherever and however often it is sent.
pub(super) fn check_in(visit: VisitNumber, key: &DocumentKey) -> Option<Change> {
    let id = VisitId::from_document_id(key.name.id)?;
    let fields = body(visit, false).stored_forms(id).into_iter().next()?;
    Some(Change::create(key, &fields))
}

/// The change of a correction to what a region shows; `None` if nothing is shown, or nothing would change. Guests change
/// a number, bring another guest, or take the last one off. `bytes` makes the correction large.
pub(super) fn correct(
    visit: VisitNumber,
    operation: OperationIndex,
    bytes: usize,
    key: &DocumentKey,
    document: &Document,
) -> Option<Change> {
    if bytes > 0 {
        let text = format!("{}{}", canary(visit), filler(operation, bytes));
        return document.amend(key, &[(AREA, Some(Value::Text(text)))]);
    }
    let current = Visit::from_document(VisitId::from_document_id(key.name.id)?, document)?;
    let mut persons = current.persons();
    match operation.0 % 4 {
        0 => persons.push(Person { name: Some(format!("{}Gast {}", canary(visit), operation.0)), ..Person::default() }),
        1 if persons.len() > 1 => drop(persons.pop()),
        _ => persons.first_mut()?.phone = Some(format!("0171 {:07}", operation.0)),
    }
    let patch = serde_json::to_vec(&serde_json::json!({ "persons": persons })).ok()?;
    let venue = Venue::placeholder(VenueId(key.name.tenant.0));
    let updates = VisitPatch::parse(&patch).ok()?.check(&current, &venue, &PACK).ok()?;
    let updates: Vec<_> = updates.iter().map(|(field, value)| (field.as_ref(), value.clone())).collect();
    document.amend(key, &updates)
}

/// The number of creations that a document shows: check-ins write a first guest's name, and corrections never do.
pub(super) fn creations(document: &Document) -> usize {
    document.all(&FIRST_NAME).len()
}

/// The visit that a document shows.
pub(super) fn shown(key: &DocumentKey, document: &Document) -> Option<Visit> {
    Visit::from_document(VisitId::from_document_id(key.name.id)?, document)
}

/// Incompressible text of this length. It differs for each operation and is the same in every region.
fn filler(operation: OperationIndex, bytes: usize) -> String {
    const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let block = |block: u64| {
        let mut hasher = SipHasher13::new_with_keys(operation.0 as u64, block);
        hasher.write_u8(0);
        hasher.finish128().as_bytes()
    };
    let digits = (0..).flat_map(block).map(|byte| char::from(DIGITS[usize::from(byte % 64)]));
    digits.take(bytes).collect()
}
