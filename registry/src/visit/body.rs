//! The body that a guest sends at check-in, and its check.
//!
//! # Invariants
//! - To hold a [`CheckedVisit`] is proof that the policy pack and the venue accept it.
//! - Equal bodies give equal fields, byte for byte and in one order, in every region.

use std::time::Duration;

use replication::{DocumentKey, Value, Wall};
use serde::Deserialize;

use crate::body::{objects, read_json};
use crate::invalid::{Code, Invalid};
use crate::person::{Person, PersonField, TIME};
use crate::policy::{PolicyPack, VisitField};
use crate::text::{MAX_AREA_CHARS, clean};
use crate::venue::Venue;
use crate::visit::document::LONGEST_STAY;
use crate::visit::fields::{MAX_PERSONS, name_at};
use crate::visit::id::VisitId;
use api::Moment;

/// How long a check-in may wait on a phone without a network.
pub(crate) const OLDEST_ARRIVAL: Duration = Duration::from_secs(86_400);

/// How far a phone's clock may be ahead.
pub const EARLIEST_ARRIVAL: Duration = Duration::from_secs(300);

/// The body of a check-in, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitBody {
    /// Table or room.
    #[serde(default)]
    pub area: Option<String>,
    /// RFC 3339 with an offset; the visit id's arrival, or now, if absent.
    #[serde(default)]
    pub arrived: Option<String>,
    /// RFC 3339 with an offset; absent while the guests are there.
    #[serde(default)]
    pub left: Option<String>,
    /// 1 to [`MAX_PERSONS`].
    #[serde(default, deserialize_with = "objects")]
    pub persons: Vec<Person>,
}

/// The times that a request is checked against.
#[derive(Clone, Copy, Debug)]
pub struct CheckAt {
    /// Trusted time.
    pub now: Wall,
    /// The arrival that the request's visit id carries, if it has one.
    pub arrival: Option<Wall>,
}

/// A check-in that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedVisit {
    /// When the guests came; part of the visit id and not a field.
    pub arrival: Wall,
    /// When they left.
    pub left: Option<Wall>,
    /// Table or room.
    pub area: Option<String>,
    /// 1 to [`MAX_PERSONS`], all with a name.
    pub persons: Vec<Person>,
}

impl VisitBody {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// [`Invalid`] if it is not JSON, or not of this shape.
    pub fn parse(body: &[u8]) -> Result<VisitBody, Invalid> {
        read_json(body)
    }

    /// Checks the body.
    ///
    /// # Errors
    /// [`Invalid`] with all that is wrong.
    pub fn check(&self, venue: &Venue, pack: &PolicyPack, at: CheckAt) -> Result<CheckedVisit, Invalid> {
        let mut invalid = Invalid::default();
        let arrival = check_arrival(self.arrived.as_deref(), at, &mut invalid);
        let left = check_left(self.left.as_deref(), "/left", arrival, &mut invalid);
        let area = check_area(self.area.as_deref(), venue, pack, &mut invalid);
        let persons = check_persons(&self.persons, arrival, pack, &mut invalid);
        invalid.or(CheckedVisit { arrival, left, area, persons })
    }

    /// The fields that this body has in its document if it was ever accepted under this id; `None` if no rules could
    /// have accepted it. Rules decide whether a body is accepted and never change what is stored, so normalising
    /// without rules gives the same bytes.
    #[must_use]
    pub fn normalised(&self, id: VisitId) -> Option<Vec<(&'static str, Value)>> {
        let mut invalid = Invalid::default();
        let at = CheckAt { now: id.arrival(), arrival: Some(id.arrival()) };
        let arrival = check_arrival(self.arrived.as_deref(), at, &mut invalid);
        let left = check_left(self.left.as_deref(), "/left", arrival, &mut invalid);
        let area = normalised_area(self.area.as_deref(), &mut invalid);
        let persons = if check_number(&self.persons, &mut invalid) { self.persons.as_slice() } else { &[] };
        let each = |person: &Person| person.normalised("", &mut invalid);
        let persons: Vec<Person> = persons.iter().map(each).collect();
        check_departures(&persons, arrival, &mut invalid);
        invalid.or(CheckedVisit { arrival, left, area, persons }).ok().map(|visit| visit.to_fields())
    }
}

impl CheckedVisit {
    /// The document's fields in their one order.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(&'static str, Value)> {
        let area = self.area.clone().map(|area| ("a", Value::Text(area)));
        let left = self.left.and_then(left_value).map(|left| ("l", left));
        let persons = (0u8..).zip(&self.persons).flat_map(|(place, person)| {
            PersonField::ALL.map(|field| Some((name_at(place, field)?, Value::Text(person.get(field)?.to_owned()))))
        });
        area.into_iter().chain(left).chain(persons.flatten()).collect()
    }

    /// The key of the visit's document, which expires when the retention has passed since the arrival that held at that
    /// moment.
    #[must_use]
    pub fn key(&self, id: VisitId, venue: &Venue) -> DocumentKey {
        id.name(venue.id).expiring(self.arrival.plus(venue.retentions.at(self.arrival)))
    }
}

/// A departure as the document stores it.
pub(crate) fn left_value(left: Wall) -> Option<Value> {
    i64::try_from(left.0).ok().map(Value::Int)
}

fn check_arrival(written: Option<&str>, at: CheckAt, invalid: &mut Invalid) -> Wall {
    let mut arrival = at.arrival.unwrap_or(at.now);
    if let Some(text) = written {
        match Moment::read(text) {
            None => invalid.add("/arrived", Code::Time, TIME),
            Some(said) if at.arrival.is_some_and(|in_id| in_id != said) => {
                invalid.add("/arrived", Code::ArrivalMismatch, "must be the arrival that the visit id carries");
            }
            Some(said) => arrival = said,
        }
    }
    if arrival < at.now.minus(OLDEST_ARRIVAL) {
        invalid.add("/arrived", Code::TooOld, "a check-in is accepted up to 24 hours after the arrival");
    }
    if arrival > at.now.plus(EARLIEST_ARRIVAL) {
        invalid.add("/arrived", Code::TooEarly, "the arrival may be at most 5 minutes in the future");
    }
    arrival
}

/// A departure: of the whole party at `/left`, of one person below its `pointer`.
pub(crate) fn check_left(written: Option<&str>, pointer: &str, arrival: Wall, invalid: &mut Invalid) -> Option<Wall> {
    let Some(left) = Moment::read(written?) else {
        invalid.add(pointer, Code::Time, TIME);
        return None;
    };
    if left <= arrival {
        invalid.add(pointer, Code::NotAfterArrival, "the departure must be after the arrival");
    }
    if left > arrival.plus(LONGEST_STAY) {
        invalid.add(pointer, Code::StayTooLong, "the departure may be at most 24 hours after the arrival");
    }
    Some(left)
}

/// A table or room in the stored form.
fn normalised_area(written: Option<&str>, invalid: &mut Invalid) -> Option<String> {
    clean(written, || "/area".to_owned(), MAX_AREA_CHARS, invalid)
}

pub(crate) fn check_area(
    written: Option<&str>,
    venue: &Venue,
    pack: &PolicyPack,
    invalid: &mut Invalid,
) -> Option<String> {
    let before = invalid.errors.len();
    let area = normalised_area(written, invalid);
    match &area {
        Some(area) if !venue.areas.is_empty() && !venue.areas.contains(area) => {
            invalid.add("/area", Code::UnknownArea, "the venue has no such area");
        }
        None if invalid.errors.len() == before && pack.required.visit.contains(&VisitField::Area) => {
            invalid.add("/area", Code::Required, "the table or room is required");
        }
        _ => {}
    }
    area
}

pub(crate) fn check_persons(
    written: &[Person],
    arrival: Wall,
    pack: &PolicyPack,
    invalid: &mut Invalid,
) -> Vec<Person> {
    if !check_number(written, invalid) {
        return Vec::new();
    }
    let persons = pack.check_persons(written, invalid);
    check_departures(&persons, arrival, invalid);
    persons
}

/// Checks when persons left before the rest of their party.
fn check_departures(persons: &[Person], arrival: Wall, invalid: &mut Invalid) {
    for (place, person) in persons.iter().enumerate() {
        check_left(person.left.as_deref(), &format!("/persons/{place}/left"), arrival, invalid);
    }
}

/// Whether so many persons may be read at all.
fn check_number(written: &[Person], invalid: &mut Invalid) -> bool {
    if written.is_empty() {
        invalid.add("/persons", Code::Required, "at least one person is required");
    }
    if written.len() > MAX_PERSONS {
        invalid.add("/persons", Code::TooMany, format!("at most {MAX_PERSONS} persons are allowed"));
    }
    written.len() <= MAX_PERSONS
}

#[cfg(test)]
mod tests;
