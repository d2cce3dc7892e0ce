//! Policy packs: the requirements of a rule-maker for guests and venues, as versioned data in `config/policies/*.toml`.
//!
//! # Invariants
//! - To hold a [`PolicyPack`] is proof that its bounds hold: `min <= default <= max <= 28 days` of retention, stays of
//!   `1 minute <= assumed <= longest <= max`, a name always required, a notice in English.
//! - A recorded stay is never longer than the pack's longest stay. One of more than a day ends before its visit is deleted,
//!   because retention counts from the arrival.
//! - An unknown key or a misspelt field name in a pack is refused.
//!
//! # Not here
//! Which pack a region uses: the node's configuration says that.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::invalid::{Code, Invalid};
use crate::person::{Person, PersonField};
use api::duration;

/// The shortest stay that any pack may assume.
pub(crate) const SHORTEST_STAY: Duration = Duration::from_secs(60);

/// The longest stay of a pack that names none.
const DAY: Duration = Duration::from_secs(86_400);

/// The longest retention that any pack may allow: the four weeks of German and Austrian law.
pub const LONGEST_RETENTION: Duration = Duration::from_secs(28 * 86_400);

/// A pack as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackFile {
    id: String,
    version: u32,
    title: String,
    source: String,
    household: Household,
    // Release 0.1 called it `max_stay`.
    #[serde(alias = "max_stay")]
    assumed_stay: String,
    longest_stay: Option<String>,
    default_country: Option<String>,
    required: Required,
    retention: RetentionSection,
    #[serde(default)]
    postal_code_digits: BTreeMap<String, usize>,
    notice: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionSection {
    min: String,
    default: String,
    max: String,
}

/// A field of a visit, beside those of its persons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitField {
    /// Table or room.
    Area,
}

/// The fields that must be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// Fields of every person who answers for a household (see [`Household`]); every other person needs only a name.
    pub person: Vec<PersonField>,
    /// Groups of fields, of which one must be given whole. Empty if none is required.
    #[serde(default)]
    pub one_of: Vec<Vec<PersonField>>,
    /// Fields of the visit.
    #[serde(default)]
    pub visit: Vec<VisitField>,
}

/// Which persons of one visit must say how to reach them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Household {
    /// Every person.
    Each,
    /// The persons are one household: each is named, and the first person's details stand for those who give none.
    Shared,
    /// One person of a household is enough; the other persons who are named need not be reachable.
    Representative,
}

/// A pack, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPack {
    /// Name, such as `de-bw`; stored with each venue.
    pub id: String,
    /// Increases with every change of the pack.
    pub version: u32,
    /// The title for people.
    pub title: String,
    /// The rule that the pack follows.
    pub source: String,
    /// The fields that must be given.
    pub required: Required,
    /// The persons who must give them.
    pub household: Household,
    /// The shortest retention that a venue may choose.
    pub min_retention: Duration,
    /// The retention of a venue that chooses none.
    pub default_retention: Duration,
    /// The longest retention that a venue may choose.
    pub max_retention: Duration,
    /// How long a guest who never checked out is assumed to have stayed.
    pub assumed_stay: Duration,
    /// The longest stay that a guest can record.
    pub longest_stay: Duration,
    /// The country of an address without one.
    pub default_country: Option<String>,
    /// Privacy notice (GDPR article 13) by language; always has `en`.
    pub notice: BTreeMap<String, String>,
    postal_code_digits: BTreeMap<String, usize>,
}

/// Why a pack is refused. The author of the pack must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Not TOML, a key too many, a key too few, or a field that no person has.
    #[error("not a policy pack")]
    Read(#[from] toml::de::Error),
    /// An id that cannot be part of a URL.
    #[error("`id` must be 1 to 40 of a-z, 0-9 and '-'")]
    Id,
    /// A length of time that cannot be parsed.
    #[error("`{key}` must be a number and a unit, such as 14d, 36h, 90m, 20s")]
    Duration {
        /// Which key.
        key: &'static str,
    },
    /// Retention bounds in the wrong order, zero, or beyond the longest retention that any pack may allow.
    #[error("`retention` must keep 1s <= min <= default <= max <= 28d")]
    Retention,
    /// An assumed stay outside its bounds.
    #[error("`assumed_stay` must be from 1m to `longest_stay` (1d if it is not given)")]
    AssumedStay,
    /// A longest stay outside its bounds.
    #[error("`longest_stay` must be from 1m to `retention.max`: retention counts from the arrival")]
    LongestStay,
    /// A pack must require a name, because contact tracing needs one.
    #[error("`required.person` must have `name`")]
    Name,
    /// A departure is not known at check-in.
    #[error("`required` cannot have `left`: no guest knows at check-in when they will leave")]
    Left,
    /// An empty group, which every person would satisfy.
    #[error("`required.one_of` has an empty group")]
    EmptyGroup,
    /// A country that is not a valid code.
    #[error("`default_country` and the keys of `postal_code_digits` must be two capital letters")]
    Country,
    /// There is no notice in English, or a notice is empty.
    #[error("`notice` must have a text for `en`, and no empty text")]
    Notice,
}

/// The packs that every binary carries, by id.
const BUILT_IN: [(&str, &str); 6] = [
    ("default", include_str!("../../config/policies/default.toml")),
    ("development", include_str!("../../config/policies/development.toml")),
    ("de-bw", include_str!("../../config/policies/de-bw.toml")),
    ("de-be", include_str!("../../config/policies/de-be.toml")),
    ("de-by", include_str!("../../config/policies/de-by.toml")),
    ("at-2021", include_str!("../../config/policies/at-2021.toml")),
];

impl PolicyPack {
    /// Reads and checks a pack.
    ///
    /// # Errors
    /// [`PackError`], which names the key.
    pub fn from_toml(text: &str) -> Result<PolicyPack, PackError> {
        PolicyPack::try_from(toml::from_str::<PackFile>(text)?)
    }

    /// A pack that the binary carries.
    #[must_use]
    pub fn built_in(id: &str) -> Option<PolicyPack> {
        let (_, text) = BUILT_IN.iter().find(|(name, _)| *name == id)?;
        // A test of this file checks that every one of them loads.
        PolicyPack::from_toml(text).ok()
    }

    /// Ids of the packs that the binary carries.
    pub fn built_in_ids() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(id, _)| *id)
    }

    /// The longest stay that a guest can record at a venue with this retention. It ends before the visit is deleted, because
    /// no list shows what is deleted; stays of up to a day are taken at every venue, as they always were.
    #[must_use]
    pub(crate) fn longest_stay_within(&self, retention: Duration) -> Duration {
        self.longest_stay.min(retention.max(DAY))
    }

    /// How far before a window the arrival of a visit can lie that the window still covers. It is a day at least, because
    /// stays of up to a day were recorded under every pack of release 0.1.
    #[must_use]
    pub fn look_back(&self) -> Duration {
        self.longest_stay.max(DAY)
    }

    /// Whether a postal code can belong to its country. Any code fits a country that the pack does not name.
    fn postal_code_fits(&self, country: Option<&str>, code: &str) -> bool {
        let country = country.map(str::to_ascii_uppercase).or_else(|| self.default_country.clone());
        let Some(&digits) = country.and_then(|country| self.postal_code_digits.get(&country)) else { return true };
        code.len() == digits && code.bytes().all(|b| b.is_ascii_digit()) && code.bytes().any(|b| b != b'0')
    }

    /// The persons of a visit in the stored form. Errors are recorded under `/persons/<place>`.
    pub(crate) fn check_persons(&self, written: &[Person], invalid: &mut Invalid) -> Vec<Person> {
        let each = |(place, person): (usize, &Person)| {
            let pointer = format!("/persons/{place}");
            let mut own = Invalid::default();
            let checked = person.normalised(&pointer, &mut own);
            let missing = self.check_person(place, &pointer, &checked, &mut own);
            invalid.errors.append(&mut own.errors);
            invalid.errors.extend(missing.errors);
            checked
        };
        written.iter().enumerate().map(each).collect()
    }

    /// Records in `own` what is wrong with a person, and returns what is missing.
    fn check_person(&self, place: usize, pointer: &str, person: &Person, own: &mut Invalid) -> Invalid {
        if let Some(code) = &person.postal_code
            && !self.postal_code_fits(person.country.as_deref(), code)
        {
            own.add(format!("{pointer}/postal_code"), Code::PostalCode, "not a postal code of this country");
        }
        // A field with an error is not reported as missing too.
        let wrong = |at: &str| own.errors.iter().any(|error| error.pointer == at);
        let mut missing = Invalid::default();
        // In a household the first person's details stand for those who give none, so the other persons need only a
        // name.
        let answers = place == 0 || self.household == Household::Each;
        for &field in &self.required.person {
            let at = format!("{pointer}/{}", field.json());
            if person.get(field).is_none() && (answers || field == PersonField::Name) && !wrong(&at) {
                missing.add(at, Code::Required, "required");
            }
        }
        if answers && own.errors.is_empty() && !self.reaches(person) {
            missing.add(pointer, Code::ContactRequired, format!("required: {}", self.ways_to_reach()));
        }
        missing
    }

    /// Whether `person` gives one of the groups of which one is required.
    fn reaches(&self, person: &Person) -> bool {
        let given = |group: &Vec<PersonField>| group.iter().all(|&field| person.get(field).is_some());
        self.required.one_of.is_empty() || self.required.one_of.iter().any(given)
    }

    /// The groups of which one is required, in words.
    fn ways_to_reach(&self) -> String {
        let group =
            |fields: &Vec<PersonField>| fields.iter().map(|field| field.json()).collect::<Vec<_>>().join(" with ");
        self.required.one_of.iter().map(group).collect::<Vec<_>>().join(" or ")
    }
}

impl TryFrom<PackFile> for PolicyPack {
    type Error = PackError;

    fn try_from(file: PackFile) -> Result<PolicyPack, PackError> {
        let read = |key, text: &str| {
            let length = duration::parse(text).ok().filter(|length| length.subsec_nanos() == 0);
            length.ok_or(PackError::Duration { key })
        };
        let min_retention = read("retention.min", &file.retention.min)?;
        let default_retention = read("retention.default", &file.retention.default)?;
        let max_retention = read("retention.max", &file.retention.max)?;
        let assumed_stay = read("assumed_stay", &file.assumed_stay)?;
        let longest_stay = file.longest_stay.as_deref().map(|text| read("longest_stay", text)).transpose()?;
        let id_fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=40).contains(&file.id.len()) || !file.id.bytes().all(id_fits) {
            return Err(PackError::Id);
        }
        let bounds = [Duration::from_secs(1), min_retention, default_retention, max_retention, LONGEST_RETENTION];
        if !bounds.is_sorted() {
            return Err(PackError::Retention);
        }
        if longest_stay.is_some_and(|longest| !(SHORTEST_STAY..=max_retention).contains(&longest)) {
            return Err(PackError::LongestStay);
        }
        let longest_stay = longest_stay.unwrap_or(DAY);
        if !(SHORTEST_STAY..=longest_stay).contains(&assumed_stay) {
            return Err(PackError::AssumedStay);
        }
        if !file.required.person.contains(&PersonField::Name) {
            return Err(PackError::Name);
        }
        if file
            .required
            .person
            .iter()
            .chain(file.required.one_of.iter().flatten())
            .any(|&field| field == PersonField::Left)
        {
            return Err(PackError::Left);
        }
        if file.required.one_of.iter().any(Vec::is_empty) {
            return Err(PackError::EmptyGroup);
        }
        let is_country = |code: &String| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        if !file.default_country.iter().chain(file.postal_code_digits.keys()).all(is_country) {
            return Err(PackError::Country);
        }
        if !file.notice.contains_key("en") || file.notice.values().any(|text| text.trim().is_empty()) {
            return Err(PackError::Notice);
        }
        Ok(PolicyPack {
            id: file.id,
            version: file.version,
            title: file.title,
            source: file.source,
            required: file.required,
            household: file.household,
            min_retention,
            default_retention,
            max_retention,
            assumed_stay,
            longest_stay,
            default_country: file.default_country,
            notice: file.notice,
            postal_code_digits: file.postal_code_digits,
        })
    }
}

#[cfg(test)]
mod tests;
