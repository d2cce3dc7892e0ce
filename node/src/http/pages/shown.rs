//! How stored persons and concurrent values are shown, to the guest and to the owner alike.

use registry::{Conflicts, Person, PersonField};
use serde_json::Value;

use super::texts::Texts;

/// How to reach a person: each way is a text of its own.
pub(super) fn contact(person: &Person) -> Vec<String> {
    let town = [&person.postal_code, &person.city].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let all = [&person.phone, &person.email, &person.street].into_iter().flatten().cloned();
    all.chain(Some(town).filter(|town| !town.is_empty())).chain(person.country.clone()).collect()
}

/// All concurrent values of each field, as alternatives. A dash means that the person was removed elsewhere.
pub(super) fn conflicts(texts: &Texts, conflicts: &Conflicts) -> Vec<String> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let given = PersonField::DETAILS.iter().filter_map(|field| fields.get(field.json())?.as_str());
            given.collect::<Vec<_>>().join(", ")
        }
        _ => "–".to_owned(),
    };
    conflicts.values().map(|values| texts.any_of(&values.iter().map(shown).collect::<Vec<_>>())).collect()
}
