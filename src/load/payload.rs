//! The check-ins that are sent: a pool of bodies, rendered once, and for each the rows that a guest list must show.
//!
//! # Not here
//! The invented people: [`super::people`].

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use registry::Person;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::people;
use crate::args::Usage;

/// Number of made-up bodies: enough that neither a cache nor a compressor profits from repetitions.
const MADE_UP: usize = 4_096;

/// One check-in that can be sent many times.
pub(crate) struct Payload {
    /// Body of the check-in.
    pub(crate) body: Bytes,
    /// Body of the correction.
    pub(crate) patch: Bytes,
    /// The area that a guest list shows.
    pub(crate) area: Option<String>,
    /// The persons that a guest list shows before the correction.
    pub(crate) first: Vec<Person>,
    /// The persons that a guest list shows after the correction.
    pub(crate) corrected: Vec<Person>,
}

/// All check-ins of a run.
pub(crate) struct Pool {
    payloads: Vec<Payload>,
    areas: Vec<String>,
}

/// A body without times, because the visit id carries the arrival.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    area: Option<String>,
    persons: Vec<Person>,
}

#[derive(Serialize)]
struct Patch<'a> {
    persons: &'a [Person],
}

/// A line of a file: a body, or a test case that holds one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Case { visit: Body },
    Body(Body),
}

impl Pool {
    /// Invents a pool; the same seed gives the same pool.
    pub(crate) fn made_up(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let bodies = (0..MADE_UP).map(|_| {
            let area = rng.random_bool(0.6).then(|| people::AREAS[rng.random_range(0..people::AREAS.len())].to_owned());
            Body { area, persons: people::group(&mut rng) }
        });
        let bodies: Vec<Body> = bodies.collect();
        Self::new(bodies, &mut SmallRng::seed_from_u64(!seed))
    }

    /// Reads a pool: JSON objects, one per line or in one array, each a check-in body or `{ .., "visit": body }`.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let written: Vec<Written> = if text.trim_start().starts_with('[') {
            serde_json::from_str(&text).map_err(|error| Usage::error(format!("{}: {error}", file.display())))?
        } else {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines
                .map(|(number, line)| {
                    serde_json::from_str(line)
                        .map_err(|error| Usage::error(format!("{}:{}: {error}", file.display(), number + 1)))
                })
                .collect::<anyhow::Result<_>>()?
        };
        let bodies: Vec<Body> = written
            .into_iter()
            .map(|written| match written {
                Written::Case { visit } | Written::Body(visit) => visit,
            })
            .collect();
        if bodies.is_empty() || bodies.iter().any(|body| body.persons.is_empty()) {
            return Err(Usage::error(format!("{}: every check-in needs a person", file.display())));
        }
        Ok(Self::new(bodies, &mut SmallRng::seed_from_u64(0)))
    }

    fn new(bodies: Vec<Body>, rng: &mut SmallRng) -> Self {
        let areas: BTreeSet<String> = bodies.iter().filter_map(|body| stored(body.area.as_deref())).collect();
        let payloads = bodies.into_iter().map(|body| Payload::new(&body, rng)).collect();
        Self { payloads, areas: areas.into_iter().collect() }
    }

    /// The number of check-ins.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.payloads.len()).unwrap_or(u32::MAX)
    }

    /// One check-in.
    pub(crate) fn get(&self, index: u32) -> &Payload {
        &self.payloads[index as usize]
    }

    /// The areas that venues need for these check-ins.
    pub(crate) fn areas(&self) -> &[String] {
        &self.areas
    }
}

impl Payload {
    fn new(body: &Body, rng: &mut SmallRng) -> Self {
        let mut corrected = body.persons.clone();
        if let Some(person) = corrected.first_mut() {
            let old = person.phone.take();
            // The number must differ from the old one, otherwise the correction could not be seen.
            person.phone = std::iter::repeat_with(|| people::phone(rng)).find(|new| Some(new) != old.as_ref());
        }
        Self {
            body: json(body),
            patch: json(&Patch { persons: &corrected }),
            area: stored(body.area.as_deref()),
            first: body.persons.iter().map(stored_person).collect(),
            corrected: corrected.iter().map(stored_person).collect(),
        }
    }
}

/// Text and lists of text always serialise.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Text in the registry's stored form: outer white space trimmed, Unicode NFC, none if empty.
fn stored(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty()).then(|| text.nfc().collect())
}

fn stored_person(person: &Person) -> Person {
    Person {
        name: stored(person.name.as_deref()),
        phone: stored(person.phone.as_deref()),
        email: stored(person.email.as_deref()),
        street: stored(person.street.as_deref()),
        postal_code: stored(person.postal_code.as_deref()),
        city: stored(person.city.as_deref()),
        country: stored(person.country.as_deref()),
        left: stored(person.left.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Pool;

    #[test]
    fn one_seed_makes_one_pool_in_stored_form() {
        let (one, same) = (Pool::made_up(7), Pool::made_up(7));
        assert_ne!(one.get(0).body, Pool::made_up(8).get(0).body);
        for index in 0..one.len() {
            let (payload, twin) = (one.get(index), same.get(index));
            assert_eq!(payload.body, twin.body);
            assert_eq!(payload.patch, twin.patch);
            assert_ne!(payload.first, payload.corrected);
            let typed: super::Body = serde_json::from_slice(&payload.body).unwrap();
            assert_eq!(typed.persons, payload.first, "made-up text is in stored form");
        }
    }

    #[test]
    fn the_data_set_is_a_pool() {
        let pool = Pool::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkins.ndjson")).unwrap();
        assert!(pool.len() >= 300);
    }
}
