//! The cluster document: operators' orders on regions, in one lasting document that every region has.
//!
//! Each region is one field, so orders on two regions never conflict. Orders on one region that were given in two
//! places at once are concurrent values. Every reader takes the newest, and of two at the same moment the one that
//! sends fewer clients there. A new order gets a later moment than any known order on its region, otherwise an order
//! from a node whose clock is behind would have no effect.
//!
//! # Invariants
//! - Pure: the caller reads and writes the document.
//! - The fields are named and encoded here and nowhere else.

use std::collections::BTreeMap;

use api::Moment;
use api::operators::{AuthorError, check_author};
use api::orders::{NewOrder, OrderKind};
use replication::{Document, DocumentId, DocumentKey, DocumentName, RegionId, TenantId, Value, Wall};
use serde::{Deserialize, Serialize};

use crate::lasting::CLUSTER;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The kind of order.
    pub kind: OrderKind,
    /// Per cent of its clients that a drained region keeps.
    pub keep: u8,
    /// When the order was given.
    pub since: Wall,
    /// When the order lapses.
    pub until: Option<Wall>,
    /// The operator who gave it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An order as it is kept in its field.
#[derive(Serialize, Deserialize)]
struct Kept {
    order: OrderKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep: Option<u8>,
    since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No valid author, or a reason that cannot be shown.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The time is not valid, or has passed.
    #[error("`until`: an RFC 3339 time with an offset that is still to come")]
    Until,
    /// A share that is no share, or a share of a region that is not drained.
    #[error("`keep`: per cent of its clients that a drained region keeps, below 100")]
    Keep,
    /// Too few regions would be left to serve.
    #[error("{} would be left to serve{}; give `force` if that is what you want", too_few(*least), unheard(silent))]
    NobodyLeft {
        /// How many there must be.
        least: usize,
        /// The regions that no order keeps from serving, but of which no node is heard.
        silent: Vec<RegionId>,
    },
}

fn too_few(least: usize) -> String {
    if least == 1 { "no other region".to_owned() } else { format!("fewer than {least} other regions") }
}

/// Says which regions do not count because they are silent.
fn unheard(silent: &[RegionId]) -> String {
    if silent.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = silent.iter().map(RegionId::as_str).collect();
    let (names, is) = (names.join(", "), if silent.len() == 1 { "is" } else { "are" });
    format!(", because {names} {is} down, or cut off from the node that was asked")
}

impl Order {
    /// The kind that holds at `now`.
    #[must_use]
    pub fn at(&self, now: Wall) -> OrderKind {
        if self.until.is_some_and(|until| until <= now) { OrderKind::Serving } else { self.kind }
    }

    /// Makes the order on `region` at `now`; `known` are the orders so far, `regions` all regions, each with whether one of
    /// its nodes is heard. Of the others `least` must be left that are heard and serve.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn give<'a>(
        new: NewOrder,
        region: &RegionId,
        now: Wall,
        known: &BTreeMap<RegionId, Order>,
        regions: impl Iterator<Item = (&'a RegionId, bool)>,
        least: usize,
    ) -> Result<Order, OrderError> {
        check_author(&new.by, &new.reason)?;
        if new.until.is_some_and(|until| until.0 <= now) {
            return Err(OrderError::Until);
        }
        if new.keep > 0 && (new.keep >= 100 || new.kind != OrderKind::Drained) {
            return Err(OrderError::Keep);
        }
        let serves = |other: &RegionId| known.get(other).is_none_or(|order| order.at(now) == OrderKind::Serving);
        let others = regions.filter(|(other, _)| *other != region && serves(other));
        let (heard, silent): (Vec<_>, Vec<_>) = others.partition(|(_, is_heard)| *is_heard);
        if new.kind != OrderKind::Serving && heard.len() < least && !new.force {
            return Err(OrderError::NobodyLeft {
                least,
                silent: silent.into_iter().map(|(other, _)| other.clone()).collect(),
            });
        }
        let after = known.get(region).map_or(Wall(0), |order| Wall(order.since.0.saturating_add(1)));
        Ok(Order {
            kind: new.kind,
            keep: new.keep,
            since: now.max(after),
            until: new.until.map(|until| until.0),
            by: new.by,
            reason: new.reason,
        })
    }

    /// As the public sees it: without its author.
    #[must_use]
    pub(crate) fn to_public(&self) -> api::orders::Order {
        api::orders::Order {
            kind: self.kind,
            keep: self.keep,
            since: Moment(self.since),
            until: self.until.map(Moment),
            by: None,
            reason: None,
        }
    }

    /// As operators see it.
    #[must_use]
    pub(crate) fn to_operators(&self) -> api::orders::Order {
        let reason = Some(self.reason.clone()).filter(|reason| !reason.is_empty());
        api::orders::Order { by: Some(self.by.clone()), reason, ..self.to_public() }
    }

    fn encode(&self) -> String {
        let kept = Kept {
            order: self.kind,
            keep: Some(self.keep).filter(|keep| *keep > 0),
            since: self.since.0,
            until: self.until.map(|until| until.0),
            by: self.by.clone(),
            reason: self.reason.clone(),
        };
        // The JSON holds only text and numbers, so this cannot fail.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    fn decode(text: &str) -> Option<Order> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let Kept { order, keep, since, until, by, reason } = kept;
        let keep = keep.unwrap_or_default().min(99);
        Some(Order { kind: order, keep, since: Wall(since), until: until.map(Wall), by, reason })
    }
}

/// The cluster document's name.
#[must_use]
pub fn name() -> DocumentName {
    DocumentName { collection: CLUSTER, tenant: TenantId([0; 16]), id: DocumentId([0; 16]) }
}

/// The document's key: it never expires.
#[must_use]
pub fn key() -> DocumentKey {
    name().expiring(Wall::NEVER)
}

/// The orders that a document holds; a value that is not a valid order is skipped.
#[must_use]
pub fn read(document: &Document) -> BTreeMap<RegionId, Order> {
    let newest = |field: &str| {
        let values = document.all(field).into_iter().filter_map(Value::as_text).filter_map(Order::decode);
        values.max_by_key(|order| (order.since, order.kind, std::cmp::Reverse(order.keep)))
    };
    document.fields().filter_map(|field| Some((field.parse().ok()?, newest(field)?))).collect()
}

/// The value of a region's field.
#[must_use]
pub fn value(order: &Order) -> Value {
    Value::Text(order.encode())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use replication::{Change, Document, RegionId, Wall};

    use super::{AuthorError, NewOrder, Order, OrderError, OrderKind, key, read, value};

    const NOW: Wall = Wall(1_780_000_000_000);

    fn region(name: &str) -> RegionId {
        name.parse().unwrap()
    }

    fn drain() -> NewOrder {
        NewOrder {
            kind: OrderKind::Drained,
            keep: 0,
            by: "mk".into(),
            reason: "kernel".into(),
            until: None,
            force: false,
        }
    }

    fn give(new: NewOrder, known: &BTreeMap<RegionId, Order>) -> Result<Order, OrderError> {
        let regions = [region("eu"), region("us")];
        Order::give(new, &region("eu"), NOW, known, heard(&regions), 1)
    }

    /// These regions, all of them heard.
    fn heard(regions: &[RegionId]) -> impl Iterator<Item = (&RegionId, bool)> {
        regions.iter().map(|region| (region, true))
    }

    #[test]
    fn orders_given_in_two_places_at_once_read_the_same_everywhere() {
        let first = give(drain(), &BTreeMap::new()).unwrap();
        let restore = NewOrder { kind: OrderKind::Serving, ..drain() };
        let second = give(restore, &BTreeMap::from([(region("eu"), first.clone())])).unwrap();
        assert!(second.since > first.since, "an order that is given later counts, even if the clock went back");
        let one = Change::create(&key(), &[("eu", value(&first))]);
        let other = Change::create(&key(), &[("eu", value(&second))]);
        for changes in [[one.clone(), other.clone()], [other, one]] {
            let document = Document::of_changes(&changes).unwrap();
            assert_eq!(read(&document), BTreeMap::from([(region("eu"), second.clone())]));
        }
    }

    #[test]
    fn the_last_region_that_serves_is_not_taken_by_accident() {
        let known = BTreeMap::from([(region("us"), give(drain(), &BTreeMap::new()).unwrap())]);
        assert_eq!(give(drain(), &known), Err(OrderError::NobodyLeft { least: 1, silent: Vec::new() }));
        let regions = ["eu", "us", "ap"].map(region);
        let give_of = |least| Order::give(drain(), &region("eu"), NOW, &known, heard(&regions), least);
        assert!(give_of(1).is_ok());
        let two = Err(OrderError::NobodyLeft { least: 2, silent: Vec::new() });
        assert_eq!(give_of(2), two, "one of the others is drained already");
        assert!(give(NewOrder { force: true, ..drain() }, &known).is_ok());
        assert!(give(NewOrder { kind: OrderKind::Serving, ..drain() }, &known).is_ok());
    }

    /// A region that is down takes no clients, whatever its order says.
    #[test]
    fn a_region_that_is_not_heard_is_not_left_to_serve() {
        let regions = ["eu", "us", "ap"].map(region);
        let us = BTreeMap::from([(region("us"), give(drain(), &BTreeMap::new()).unwrap())]);
        let give = |known: &BTreeMap<_, _>, silent: &[&str], new: NewOrder| {
            let all = regions.iter().map(|region| (region, !silent.contains(&region.as_str())));
            Order::give(new, &region("eu"), NOW, known, all, 1)
        };
        let none = BTreeMap::new();
        assert!(give(&none, &["us"], drain()).is_ok() && give(&us, &[], drain()).is_ok());
        for (known, silent, named) in [(&us, &["ap"][..], "ap is down"), (&none, &["us", "ap"], "us, ap are down")] {
            let refused = give(known, silent, drain()).unwrap_err().to_string();
            assert!(
                refused.starts_with("no other region would be left to serve") && refused.contains(named),
                "{refused}"
            );
            assert!(give(known, silent, NewOrder { force: true, ..drain() }).is_ok());
            assert!(give(known, silent, NewOrder { kind: OrderKind::Serving, ..drain() }).is_ok());
        }
        // The region that the order is for may be down itself.
        assert!(give(&none, &["eu"], drain()).is_ok());
    }

    #[test]
    fn an_invalid_order_is_refused() {
        let give = |new| give(new, &BTreeMap::new());
        assert_eq!(give(NewOrder { by: " ".into(), ..drain() }), Err(AuthorError::By.into()));
        assert_eq!(give(NewOrder { by: "m\nk".into(), ..drain() }), Err(AuthorError::By.into()));
        assert_eq!(give(NewOrder { reason: "x".repeat(401), ..drain() }), Err(AuthorError::Reason.into()));
        assert_eq!(give(NewOrder { keep: 100, ..drain() }), Err(OrderError::Keep));
        assert_eq!(give(NewOrder { keep: 5, kind: OrderKind::Serving, ..drain() }), Err(OrderError::Keep));
        assert_eq!(give(NewOrder { keep: 75, ..drain() }).unwrap().keep, 75);
        let past = Some("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(give(NewOrder { until: past, ..drain() }), Err(OrderError::Until));
        let order = give(NewOrder { until: Some("2030-01-01T00:00:00Z".parse().unwrap()), ..drain() }).unwrap();
        assert_eq!(order.at(NOW), OrderKind::Drained);
        assert_eq!(order.at(order.until.unwrap()), OrderKind::Serving);
    }
}
