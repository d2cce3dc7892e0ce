//! The body that a guest sends at check-in, and its check.
//!
//! # Invariants
//! - To hold a [`CheckedVisit`] is proof that the policy pack and the venue accept it.
//! - Equal bodies give equal fields, byte for byte and in one order, in every region.

use std::time::Duration;

use replication::{Value, Wall};
use serde::Deserialize;

use crate::body::{objects, read_json};
use crate::invalid::{Code, Invalid};
use crate::person::{Person, PersonField, TIME};
use crate::policy::{PolicyPack, VisitField};
use crate::text::{MAX_AREA_CHARS, clean};
use crate::venue::Venue;
use crate::visit::editions::Edition;
use crate::visit::fields::{MAX_PERSONS, name_at};
use crate::visit::id::VisitId;
use api::problem::ClockDifference;
use api::{Moment, duration};

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
        let stay = Stay::at(arrival, venue, pack);
        let left = check_left(self.left.as_deref(), "/left", stay, &mut invalid);
        let area = check_area(self.area.as_deref(), venue, pack, &mut invalid);
        let persons = check_persons(&self.persons, stay, pack, &mut invalid);
        invalid.or(CheckedVisit { arrival, left, area, persons })
    }

    /// The fields that this body has in its document if any release accepted it under this id, whatever its rules were
    /// ([`editions`](crate::visit::editions)). Empty if no release can have accepted it.
    #[must_use]
    pub fn stored_forms(&self, id: VisitId) -> Vec<Vec<(&'static str, Value)>> {
        let mut forms: Vec<_> = Edition::ALL.into_iter().filter_map(|edition| self.stored(id, edition)).collect();
        // A document without fields is no check-in.
        forms.retain(|fields| !fields.is_empty());
        forms.dedup();
        forms
    }

    fn stored(&self, id: VisitId, edition: Edition) -> Option<Vec<(&'static str, Value)>> {
        let arrival = id.arrival();
        // The arrival is no field, so a body that states another one makes the same fields.
        if edition.moment_if_given(self.arrived.as_deref())?.is_some_and(|said| said != arrival) {
            return None;
        }
        // More persons have no fields.
        if self.persons.len() > MAX_PERSONS {
            return None;
        }
        let left = edition.moment_if_given(self.left.as_deref())?;
        let area = edition.text(self.area.as_deref());
        let persons = self.persons.iter().map(|person| edition.person(person)).collect::<Option<_>>()?;
        Some(CheckedVisit { arrival, left, area, persons }.to_fields())
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
    // The id carries the arrival, so another arrival needs another id.
    let pointer = if at.arrival.is_some() { "/visit_id" } else { "/arrived" };
    if arrival < at.now.minus(OLDEST_ARRIVAL) {
        invalid.add(pointer, Code::TooOld, "a check-in is accepted up to 24 hours after the arrival");
        invalid.clock = Some(ClockDifference::of(arrival, at.now));
    }
    if arrival > at.now.plus(EARLIEST_ARRIVAL) {
        invalid.add(pointer, Code::TooEarly, "the arrival may be at most 5 minutes in the future");
        invalid.clock = Some(ClockDifference::of(arrival, at.now));
    }
    arrival
}

/// What a departure is checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    arrival: Wall,
    longest: Duration,
}

impl Stay {
    /// A stay that began at `arrival`.
    pub(crate) fn at(arrival: Wall, venue: &Venue, pack: &PolicyPack) -> Stay {
        Stay { arrival, longest: pack.longest_stay_within(venue.retentions.at(arrival)) }
    }
}

/// A departure: of the whole party at `/left`, of one person below its `pointer`.
pub(crate) fn check_left(written: Option<&str>, pointer: &str, stay: Stay, invalid: &mut Invalid) -> Option<Wall> {
    let Some(left) = Moment::read(written?) else {
        invalid.add(pointer, Code::Time, TIME);
        return None;
    };
    if left <= stay.arrival {
        invalid.add(pointer, Code::NotAfterArrival, "the departure must be after the arrival");
    }
    if left > stay.arrival.plus(stay.longest) {
        let longest = duration::show(stay.longest);
        invalid.add(pointer, Code::StayTooLong, format!("the departure may be at most {longest} after the arrival"));
    }
    Some(left)
}

pub(crate) fn check_area(
    written: Option<&str>,
    venue: &Venue,
    pack: &PolicyPack,
    invalid: &mut Invalid,
) -> Option<String> {
    let before = invalid.errors.len();
    let area = clean(written, || "/area".to_owned(), MAX_AREA_CHARS, invalid);
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

pub(crate) fn check_persons(written: &[Person], stay: Stay, pack: &PolicyPack, invalid: &mut Invalid) -> Vec<Person> {
    if !check_number(written, invalid) {
        return Vec::new();
    }
    let persons = pack.check_persons(written, invalid);
    check_departures(&persons, stay, invalid);
    persons
}

/// Checks when persons left before the rest of their party.
fn check_departures(persons: &[Person], stay: Stay, invalid: &mut Invalid) {
    for (place, person) in persons.iter().enumerate() {
        check_left(person.left.as_deref(), &format!("/persons/{place}/left"), stay, invalid);
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
