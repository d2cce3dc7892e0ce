//! The body with which an owner opens or changes a venue, and its check.
//!
//! # Invariants
//! - The retention is within the policy pack's bounds, and in whole seconds.
//! - The time zone is one that this binary contains, in its IANA spelling. So every region gives the same answer,
//!   whatever time zone files its machine has.

use std::time::Duration;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use replication::{Value, Wall};
use serde::{Deserialize, Serialize};

use crate::body::{present, read_json};
use crate::invalid::{Code, Invalid};
use crate::policy::PolicyPack;
use crate::text::{MAX_AREA_CHARS, clean};
use crate::venue::document::{Venue, areas_value, field, retention_value};
use crate::venue::id::{OwnerKey, VenueId};
use crate::venue::retention::Retentions;
use api::duration;

/// How long a venue's name may be.
pub(crate) const MAX_NAME_CHARS: usize = 120;

/// How long a venue's address may be.
pub(crate) const MAX_ADDRESS_CHARS: usize = 240;

/// How many areas a venue may have.
pub(crate) const MAX_AREAS: usize = 250;

/// The body that opens a venue, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewVenue {
    /// Required.
    pub name: Option<String>,
    /// For guests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// IANA name, such as `Europe/Berlin`; required.
    pub timezone: Option<String>,
    /// In the grammar of [`duration`], such as `14d`; the policy pack's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// Tables and rooms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub areas: Option<Vec<String>>,
}

/// The answer to the creation of a venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedVenue {
    /// The venue's id.
    pub venue_id: VenueId,
    /// The key that proves its ownership; it is shown once.
    pub owner_key: String,
    /// The link for guests to check in.
    pub checkin_url: String,
}

/// A venue that may be opened; its id and its owner are still missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedVenue {
    name: String,
    address: Option<String>,
    timezone: String,
    retention: Duration,
    areas: Vec<String>,
    policy: String,
}

impl NewVenue {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// [`Invalid`] if it is not JSON, or not of this shape.
    pub fn parse(body: &[u8]) -> Result<NewVenue, Invalid> {
        read_json(body)
    }

    /// Checks the body.
    ///
    /// # Errors
    /// [`Invalid`] with all that is wrong.
    pub fn check(&self, pack: &PolicyPack) -> Result<CheckedVenue, Invalid> {
        let mut invalid = Invalid::default();
        let checked = CheckedVenue {
            name: check_name(self.name.as_deref(), &mut invalid),
            address: clean(self.address.as_deref(), || "/address".to_owned(), MAX_ADDRESS_CHARS, &mut invalid),
            timezone: check_timezone(self.timezone.as_deref(), &mut invalid),
            retention: check_retention(self.retention.as_deref(), None, pack, &mut invalid),
            areas: check_areas(self.areas.as_deref(), &mut invalid),
            policy: pack.id.clone(),
        };
        invalid.or(checked)
    }
}

impl CheckedVenue {
    /// The venue, with the id and the owner that the API drew for it.
    #[must_use]
    pub fn open(self, id: VenueId, owner: &OwnerKey) -> Venue {
        Venue {
            id,
            name: self.name,
            address: self.address,
            timezone: self.timezone,
            retention: self.retention,
            retentions: Retentions::always(self.retention),
            areas: self.areas,
            policy: self.policy,
            owner_key_hashes: vec![owner.hash()],
            closed: None,
            unused: true,
            conflicts: std::collections::BTreeMap::new(),
        }
    }
}

/// A change of a venue: a JSON merge patch (RFC 7396) over its profile. An absent field stays; `null` removes a field,
/// and resets the retention to the policy pack's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenuePatch {
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    address: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    timezone: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    retention: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    areas: Option<Option<Vec<String>>>,
}

impl VenuePatch {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// [`Invalid`] if it is not JSON, or not of this shape.
    pub fn parse(body: &[u8]) -> Result<VenuePatch, Invalid> {
        read_json(body)
    }

    /// Checks the patch of `venue` and returns each field to set, or to remove (`None`). A new retention holds for visits
    /// whose guests arrive from `now` on; earlier visits keep theirs.
    ///
    /// # Errors
    /// [`Invalid`] with all that is wrong.
    pub fn check(
        &self,
        venue: &Venue,
        pack: &PolicyPack,
        now: Wall,
    ) -> Result<Vec<(&'static str, Option<Value>)>, Invalid> {
        let mut invalid = Invalid::default();
        let mut updates = Vec::new();
        if let Some(name) = &self.name {
            updates.push((field::NAME, Some(Value::Text(check_name(name.as_deref(), &mut invalid)))));
        }
        if let Some(address) = &self.address {
            let address = clean(address.as_deref(), || "/address".to_owned(), MAX_ADDRESS_CHARS, &mut invalid);
            updates.push((field::ADDRESS, address.map(Value::Text)));
        }
        if let Some(timezone) = &self.timezone {
            updates.push((field::TIMEZONE, Some(Value::Text(check_timezone(timezone.as_deref(), &mut invalid)))));
        }
        if let Some(retention) = &self.retention {
            let retention = check_retention(retention.as_deref(), Some(venue.retention), pack, &mut invalid);
            updates.push((field::RETENTION, Some(retention_value(retention))));
            updates.extend(venue.retentions.change(retention, now).map(|all| (field::RETENTIONS, Some(all))));
        }
        if let Some(areas) = &self.areas {
            let areas = check_areas(areas.as_deref(), &mut invalid);
            updates.push((field::AREAS, (!areas.is_empty()).then(|| areas_value(&areas))));
        }
        invalid.or(updates)
    }
}

fn check_name(written: Option<&str>, invalid: &mut Invalid) -> String {
    let before = invalid.errors.len();
    let name = clean(written, || "/name".to_owned(), MAX_NAME_CHARS, invalid);
    if name.is_none() && invalid.errors.len() == before {
        invalid.add("/name", Code::Required, "required");
    }
    name.unwrap_or_default()
}

fn check_timezone(written: Option<&str>, invalid: &mut Invalid) -> String {
    let Some(written) = written else {
        invalid.add("/timezone", Code::Required, "required");
        return String::new();
    };
    let zone = TimeZoneDatabase::bundled().get(written).ok().filter(|zone| !zone.is_unknown());
    match zone.as_ref().and_then(TimeZone::iana_name) {
        Some(name) => name.to_owned(),
        None => {
            invalid.add("/timezone", Code::Timezone, "an IANA time zone, such as Europe/Berlin");
            String::new()
        }
    }
}

/// A retention within the bounds of the pack. The `present` one is taken as well, because a form sends it with every change
/// and the bounds may have been others when it was chosen.
fn check_retention(
    written: Option<&str>,
    present: Option<Duration>,
    pack: &PolicyPack,
    invalid: &mut Invalid,
) -> Duration {
    let Some(written) = written else { return pack.default_retention };
    // The document holds whole seconds.
    let Some(retention) = duration::parse(written).ok().filter(|retention| retention.subsec_nanos() == 0) else {
        invalid.add("/retention", Code::Duration, "a number and a unit, such as 14d, 36h, 90m, 20s");
        return pack.default_retention;
    };
    if present != Some(retention) && !(pack.min_retention..=pack.max_retention).contains(&retention) {
        let (min, max) = (duration::show(pack.min_retention), duration::show(pack.max_retention));
        invalid.add("/retention", Code::Retention, format!("the policy pack asks for {min} to {max}"));
    }
    retention
}

fn check_areas(written: Option<&[String]>, invalid: &mut Invalid) -> Vec<String> {
    let written = written.unwrap_or_default();
    if written.len() > MAX_AREAS {
        invalid.add("/areas", Code::TooMany, format!("at most {MAX_AREAS} areas"));
        return Vec::new();
    }
    let mut areas = Vec::with_capacity(written.len());
    for (index, area) in written.iter().enumerate() {
        let pointer = format!("/areas/{index}");
        let before = invalid.errors.len();
        match clean(Some(area), || pointer.clone(), MAX_AREA_CHARS, invalid) {
            Some(area) if areas.contains(&area) => invalid.add(pointer, Code::Repeated, "an area is listed twice"),
            Some(area) => areas.push(area),
            None if invalid.errors.len() == before => invalid.add(pointer, Code::Required, "an area has a name"),
            None => {}
        }
    }
    areas
}

#[cfg(test)]
mod tests;
