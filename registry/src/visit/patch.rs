//! The body that corrects a visit or checks out: a JSON merge patch (RFC 7396) over the visit's JSON.
//!
//! An absent field stays, `null` removes it, and `persons` is replaced whole, as every array is:
//! [`crate::visit::persons_patch`] finds out which person continues which. Only fields that the patch names are checked, and
//! only fields that it changes are written, so two guests who correct different things concurrently do not undo each
//! other.
//!
//! # Invariants
//! - The arrival never changes, because the visit id carries it.

use replication::{Value, Wall};
use serde::Deserialize;

use crate::body::{present, present_objects, read_json};
use crate::invalid::{Code, Invalid};
use crate::person::Person;
use crate::policy::PolicyPack;
use crate::venue::Venue;
use crate::visit::Visit;
use crate::visit::body::{Stay, check_area, check_left, check_persons, left_value};
use crate::visit::editions::Edition;
use crate::visit::fields::Slot;
use crate::visit::persons_patch::{self, Updates};
use api::Moment;

/// A visit's correction, as written. `None`: not named. `Some(None)`: `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitPatch {
    #[serde(default, deserialize_with = "present")]
    area: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    arrived: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    left: Option<Option<String>>,
    #[serde(default, deserialize_with = "present_objects")]
    persons: Option<Option<Vec<Person>>>,
}

impl VisitPatch {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// [`Invalid`] if it is not JSON, or not of this shape.
    pub fn parse(body: &[u8]) -> Result<VisitPatch, Invalid> {
        read_json(body)
    }

    /// Checks the patch against the present visit and returns each field to set, or to remove (`None`).
    ///
    /// # Errors
    /// [`Invalid`] with all that is wrong.
    pub fn check(&self, current: &Visit, venue: &Venue, pack: &PolicyPack) -> Result<Updates, Invalid> {
        let mut invalid = Invalid::default();
        let mut updates = Updates::new();
        let stay = Stay::at(current.arrived(), venue, pack);
        if let Some(arrived) = &self.arrived
            && arrived.as_deref().and_then(Moment::read) != Some(current.arrived())
        {
            invalid.add("/arrived", Code::Immutable, "the arrival never changes");
        }
        if let Some(area) = &self.area {
            let area = check_area(area.as_deref(), venue, pack, &mut invalid);
            updates.push((Slot::Area.name(), area.map(Value::Text)));
        }
        if let Some(left) = &self.left {
            let left = check_left(left.as_deref(), "/left", stay, &mut invalid);
            updates.push((Slot::Left.name(), left.and_then(left_value)));
        }
        if let Some(persons) = &self.persons {
            let persons = check_persons(persons.as_deref().unwrap_or_default(), stay, pack, &mut invalid);
            updates.extend(persons_patch::updates(current, &persons));
        }
        invalid.or(updates)
    }

    /// Whether the visit is already as the patch wants it, in the form of any release. Such a patch was accepted before, so
    /// the rules of today have no say in it.
    #[must_use]
    pub fn is_repeat(&self, current: &Visit) -> bool {
        current.conflicts().is_empty() && Edition::ALL.into_iter().any(|edition| self.describes(current, edition))
    }

    fn describes(&self, current: &Visit, edition: Edition) -> bool {
        let is_at = |said: &Option<Option<String>>, at: Option<Wall>| {
            said.as_ref().is_none_or(|said| edition.moment_if_given(said.as_deref()) == Some(at))
        };
        let is_area = |area: &Option<String>| edition.text(area.as_deref()).as_deref() == current.area();
        let are_persons = |persons: &Option<Vec<Person>>| {
            let persons = persons.as_deref().unwrap_or_default().iter();
            persons.map(|person| edition.person(person)).collect::<Option<Vec<_>>>() == Some(current.persons())
        };
        is_at(&self.arrived, Some(current.arrived()))
            && is_at(&self.left, current.left())
            && self.area.as_ref().is_none_or(is_area)
            && self.persons.as_ref().is_none_or(are_persons)
    }
}

#[cfg(test)]
mod tests;
