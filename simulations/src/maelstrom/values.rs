//! The values of the workloads: writes as documents that last, reads as a view that follows the replica.
//!
//! # Invariants
//! - Equal elements are one document: its id is a hash of the element. Each addition to a counter is a document of its
//!   own: its id is a hash of the request, so that a request that arrives twice counts once.
//! - The view holds only documents that are durable here.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use replication::{Change, Collection, DocumentId, DocumentKey, DocumentName, Row, TenantId, Wall};
use serde_json::Value;
use siphasher::sip128::{Hasher128, SipHasher13};

const TENANT: TenantId = TenantId(*b"maelstrom-tenant");
const FIELD: &str = "value";

/// The workload that is running; it decides what a read answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    /// `broadcast`: a read answers `messages`.
    Broadcast,
    /// `g-set`: a read answers `value`, a list.
    Set,
    /// `g-counter`, `pn-counter`: a read answers `value`, a sum.
    Counter,
}

impl Workload {
    fn collection(self) -> Collection {
        Collection(match self {
            Workload::Broadcast => 1,
            Workload::Set => 2,
            Workload::Counter => 3,
        })
    }

    fn of(name: &DocumentName) -> Option<Workload> {
        [Workload::Broadcast, Workload::Set, Workload::Counter].into_iter().find(|w| w.collection() == name.collection)
    }
}

fn key(workload: Workload, id: [u8; 16]) -> DocumentKey {
    let name = DocumentName { collection: workload.collection(), tenant: TENANT, id: DocumentId(id) };
    name.expiring(Wall::NEVER)
}

/// 128 bits of a hash that is the same in every node and every run.
fn id_of(what: impl Hash) -> [u8; 16] {
    let mut hasher = SipHasher13::new();
    what.hash(&mut hasher);
    hasher.finish128().as_bytes()
}

/// The document of an element: a message of `broadcast`, or an element of `g-set`.
pub(super) fn element(workload: Workload, element: &Value) -> (DocumentKey, Change) {
    let text = element.to_string();
    let key = key(workload, id_of(&text));
    (key, Change::create(&key, &[(FIELD, replication::Value::Text(text))]))
}

/// The document of an addition. Its name comes from the parts of the request that make it unique.
pub(super) fn delta(request: (&str, &str, Option<u64>, u64), delta: i64) -> (DocumentKey, Change) {
    let key = key(Workload::Counter, id_of(request));
    (key, Change::create(&key, &[(FIELD, replication::Value::Int(delta))]))
}

/// The values that are known here.
#[derive(Debug, Default)]
pub(super) struct View {
    elements: BTreeMap<(Workload, DocumentId), Value>,
    deltas: BTreeMap<DocumentId, i64>,
}

impl View {
    /// Takes over a document that has become durable. Says which workload it belongs to.
    pub(super) fn learn(&mut self, name: &DocumentName, row: &Row) -> Option<Workload> {
        let workload = Workload::of(name)?;
        let document = row.document().ok()?;
        let value = document.get(FIELD)?;
        match workload {
            Workload::Counter => {
                self.deltas.insert(name.id, value.as_int()?);
            }
            Workload::Broadcast | Workload::Set => {
                let element = serde_json::from_str(value.as_text()?).ok()?;
                self.elements.insert((workload, name.id), element);
            }
        }
        Some(workload)
    }

    /// The answer to a read: the field and its value.
    pub(super) fn read(&self, workload: Workload) -> (&'static str, Value) {
        let elements = || self.elements.iter().filter(|((of, _), _)| *of == workload).map(|(_, value)| value.clone());
        match workload {
            Workload::Broadcast => ("messages", elements().collect()),
            Workload::Set => ("value", elements().collect()),
            Workload::Counter => {
                let sum: i128 = self.deltas.values().map(|delta| i128::from(*delta)).sum();
                let beyond = if sum < 0 { i64::MIN } else { i64::MAX };
                ("value", Value::from(i64::try_from(sum).unwrap_or(beyond)))
            }
        }
    }
}

/// 64 bits of a text, the same in every node and every run.
pub(super) fn short_hash(text: &str) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    text.hash(&mut hasher);
    hasher.finish()
}
