//! A venue as read from its document, and the public profile that guests see.
//!
//! # Invariants
//! - The fields are named here and nowhere else, in one fixed order.
//! - The profile contains nothing of the owner's key, not even its hash.
//! - Only the change that created a venue says who owns it: a later change can neither add nor remove an owner's key.
//!
//! # Not here
//! Checking what an owner writes: [`crate::venue::body`].

use std::collections::BTreeMap;
use std::time::Duration;

use replication::{Document, DocumentKey, Value, Wall};
use serde::Serialize;
use subtle::{Choice, ConstantTimeEq};

use crate::conflicts::Conflicts;
use crate::policy::{Household, LONGEST_RETENTION, PolicyPack, Required};
use crate::venue::id::{OwnerKey, VenueId};
use crate::venue::retention::Retentions;
use api::duration;

/// Names of the document's fields.
pub(crate) mod field {
    pub(crate) const NAME: &str = "n";
    pub(crate) const ADDRESS: &str = "a";
    /// Text: IANA name.
    pub(crate) const TIMEZONE: &str = "t";
    /// Whole seconds.
    pub(crate) const RETENTION: &str = "r";
    /// Text: earlier retentions and the present one, with the moments from which they hold (`venue/retention.rs`).
    pub(crate) const RETENTIONS: &str = "h";
    /// Text: one area per line. A line break can separate areas, because an area has no control characters.
    pub(crate) const AREAS: &str = "s";
    /// Text: id of the policy pack.
    pub(crate) const POLICY: &str = "p";
    /// 32 bytes.
    pub(crate) const OWNER: &str = "k";
    /// Unix milliseconds. No change takes it away again.
    pub(crate) const CLOSED: &str = "x";
    /// 1 from the creation to the first check-in. It holds no time, so that a creation that is sent twice is one change.
    pub(crate) const UNUSED: &str = "u";
    /// Unix milliseconds: closed because no guest ever came. It counts only while [`UNUSED`] is there.
    pub(crate) const EXPIRED: &str = "e";
}

/// A place that keeps a guest list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venue {
    /// Its id, and the tenant of its visits.
    pub id: VenueId,
    /// As the owner writes it.
    pub name: String,
    /// As the owner writes it.
    pub address: Option<String>,
    /// IANA time zone, in which pages show times.
    pub timezone: String,
    /// How long a visit is kept whose guests arrive now, counted from their arrival.
    pub retention: Duration,
    /// How long visits are kept, by their arrival.
    pub retentions: Retentions,
    /// Tables and rooms. If there are none, guests may name any area.
    pub areas: Vec<String>,
    /// Id of the policy pack.
    pub policy: String,
    /// Hashes of the owner's key: more than one only if the venue was created twice.
    pub owner_key_hashes: Vec<[u8; 32]>,
    /// When it was closed: it takes no check-ins any more, and its list stays until the last visit expires.
    pub closed: Option<Wall>,
    /// Whether no region has taken a check-in yet. Venues of releases that kept no such mark count as used.
    pub unused: bool,
    /// Fields with several concurrent values, by JSON pointer into the profile.
    pub conflicts: Conflicts,
}

impl Venue {
    /// The venue that a document holds; `None` if it is not completely visible (yet).
    #[must_use]
    pub fn from_document(id: VenueId, document: &Document) -> Option<Venue> {
        let text = |name| document.get(name).and_then(Value::as_text).map(str::to_owned);
        let shown = document.all(field::RETENTION).into_iter().filter_map(Value::as_int);
        let shown: Vec<Duration> = shown.filter_map(|s| u64::try_from(s).ok()).map(Duration::from_secs).collect();
        let moments = document.all(field::RETENTIONS).into_iter().filter_map(Value::as_text);
        let retentions = Retentions::read(moments, &shown, document.is_as_created(field::RETENTION))?;
        let hashes = document.created(field::OWNER).into_iter().filter_map(Value::as_bytes);
        Some(Venue {
            id,
            name: text(field::NAME)?,
            address: text(field::ADDRESS),
            timezone: text(field::TIMEZONE)?,
            retention: retentions.present(),
            retentions,
            areas: text(field::AREAS).map(|lines| areas_of(&lines)).unwrap_or_default(),
            policy: text(field::POLICY)?,
            owner_key_hashes: hashes.filter_map(|bytes| bytes.try_into().ok()).collect(),
            closed: closed(document),
            unused: is_unused(document),
            conflicts: conflicts(document),
        })
    }

    /// A venue of this id that asks for nothing and keeps for as long as any does: it stands for one that is closed, or not
    /// here yet.
    #[must_use]
    pub fn placeholder(id: VenueId) -> Venue {
        Venue {
            id,
            name: String::new(),
            address: None,
            timezone: String::new(),
            retention: LONGEST_RETENTION,
            retentions: Retentions::always(LONGEST_RETENTION),
            areas: Vec::new(),
            policy: String::new(),
            owner_key_hashes: Vec::new(),
            closed: None,
            unused: false,
            conflicts: Conflicts::new(),
        }
    }

    /// The fields that close a venue.
    #[must_use]
    pub fn closing(at: Wall) -> [(&'static str, Option<Value>); 1] {
        [(field::CLOSED, i64::try_from(at.0).ok().map(Value::Int))]
    }

    /// The fields that close a venue because no guest ever came. `at` follows from the creation and the configuration, so
    /// that all regions make the same change. A check-in that another region took meanwhile undoes it.
    #[must_use]
    pub fn expiring(at: Wall) -> [(&'static str, Option<Value>); 1] {
        [(field::EXPIRED, i64::try_from(at.0).ok().map(Value::Int))]
    }

    /// The fields that say that a guest came.
    #[must_use]
    pub fn used() -> [(&'static str, Option<Value>); 1] {
        [(field::UNUSED, None)]
    }

    /// The document's fields in their one order.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![(field::NAME, Value::Text(self.name.clone()))];
        if let Some(address) = &self.address {
            fields.push((field::ADDRESS, Value::Text(address.clone())));
        }
        fields.push((field::TIMEZONE, Value::Text(self.timezone.clone())));
        fields.push((field::RETENTION, retention_value(self.retention)));
        if !self.areas.is_empty() {
            fields.push((field::AREAS, areas_value(&self.areas)));
        }
        fields.push((field::POLICY, Value::Text(self.policy.clone())));
        if let Some(hash) = self.owner_key_hashes.first() {
            fields.push((field::OWNER, Value::Bytes(hash.to_vec())));
        }
        if self.unused {
            fields.push((field::UNUSED, Value::Int(1)));
        }
        fields
    }

    /// The key of the venue's document, which lasts.
    #[must_use]
    pub fn key(&self) -> DocumentKey {
        self.id.name().expiring(Wall::NEVER)
    }

    /// Whether `key` is the owner's key. Takes the same time for every key.
    #[must_use]
    pub fn owned_by(&self, key: &OwnerKey) -> bool {
        let hash = key.hash();
        self.owner_key_hashes.iter().fold(Choice::from(0), |found, own| found | own.ct_eq(&hash)).into()
    }

    /// The public profile of the venue.
    #[must_use]
    pub fn profile<'a>(&'a self, pack: &'a PolicyPack) -> VenueProfile<'a> {
        VenueProfile {
            venue_id: self.id,
            name: &self.name,
            address: self.address.as_deref(),
            timezone: &self.timezone,
            areas: &self.areas,
            retention: duration::show(self.retention),
            policy: PolicyProfile {
                id: &pack.id,
                version: pack.version,
                title: &pack.title,
                required: &pack.required,
                household: pack.household,
                assumed_stay: duration::show(pack.assumed_stay),
                longest_stay: duration::show(pack.longest_stay_within(self.retention)),
                default_country: pack.default_country.as_deref(),
                notice: &pack.notice,
            },
            conflicts: &self.conflicts,
        }
    }
}

/// The public JSON of a venue.
#[derive(Clone, Debug, Serialize)]
pub struct VenueProfile<'a> {
    venue_id: VenueId,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    timezone: &'a str,
    areas: &'a [String],
    retention: String,
    policy: PolicyProfile<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    conflicts: &'a Conflicts,
}

/// The part of a policy pack that a check-in page needs.
#[derive(Clone, Debug, Serialize)]
struct PolicyProfile<'a> {
    id: &'a str,
    version: u32,
    title: &'a str,
    required: &'a Required,
    household: Household,
    /// How long a guest without a departure is listed.
    assumed_stay: String,
    /// The longest stay that a guest who arrives now can record.
    longest_stay: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_country: Option<&'a str>,
    notice: &'a BTreeMap<String, String>,
}

/// A retention as the document stores it.
pub(crate) fn retention_value(retention: Duration) -> Value {
    Value::Int(i64::try_from(retention.as_secs()).unwrap_or(i64::MAX))
}

/// Areas as the document stores them.
pub(crate) fn areas_value(areas: &[String]) -> Value {
    Value::Text(areas.join("\n"))
}

/// Of several moments the last one counts, because visits were taken until then. A venue that expired and was used in a
/// region that did not know of it is open again.
fn closed(document: &Document) -> Option<Wall> {
    let last = |field: &str| {
        let moments = document.all(field).into_iter().filter_map(Value::as_int);
        moments.filter_map(|ms| u64::try_from(ms).ok()).max().map(Wall)
    };
    last(field::CLOSED).or_else(|| last(field::EXPIRED).filter(|_| is_unused(document)))
}

/// Only the mark of the creation counts, so that no later change makes a venue unused again.
fn is_unused(document: &Document) -> bool {
    document.get(field::UNUSED).is_some() && document.is_as_created(field::UNUSED)
}

fn areas_of(lines: &str) -> Vec<String> {
    lines.split('\n').map(str::to_owned).collect()
}

fn conflicts(document: &Document) -> Conflicts {
    let shown = |name: &str, value: &Value| -> Option<serde_json::Value> {
        match (name, value) {
            (field::RETENTION, Value::Int(s)) => {
                Some(duration::show(Duration::from_secs(u64::try_from(*s).ok()?)).into())
            }
            (field::AREAS, Value::Text(lines)) => Some(areas_of(lines).into()),
            (_, Value::Text(text)) => Some(text.as_str().into()),
            _ => None,
        }
    };
    let public = [
        ("/name", field::NAME),
        ("/address", field::ADDRESS),
        ("/timezone", field::TIMEZONE),
        ("/retention", field::RETENTION),
        ("/areas", field::AREAS),
    ];
    let each = public.into_iter().map(|(pointer, name)| {
        let values = document.all(name).into_iter().filter_map(|value| shown(name, value)).collect::<Vec<_>>();
        (pointer.to_owned(), values)
    });
    each.filter(|(_, values)| values.len() > 1).collect()
}

#[cfg(test)]
pub(crate) mod tests;
