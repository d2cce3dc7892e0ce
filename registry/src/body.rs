//! Reads JSON bodies strictly: an object must be an object, a field is given once, and no error quotes a value.
//!
//! # Not here
//! The rules for bodies: [`crate::visit::body`], [`crate::visit::patch`], [`crate::venue::body`].

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::invalid::{Code, Invalid};

/// Reads a JSON body. Serde's own message is not passed on, because it quotes the value that it could not read.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    serde_json::from_slice(body).map(|Object(body)| body).map_err(|error| {
        let at = format!("line {} column {}", error.line(), error.column());
        if !error.is_data() {
            return Invalid::one("", Code::Malformed, format!("not JSON in UTF-8, at {at}"));
        }
        // Serde distinguishes these errors only by their messages; a test checks the messages.
        let message = error.to_string();
        if message.starts_with("unknown field") {
            Invalid::one("", Code::UnknownField, format!("a field that is not known here, at {at}"))
        } else if message.starts_with("duplicate field") {
            Invalid::one("", Code::DuplicateField, format!("a field given twice, at {at}"))
        } else {
            Invalid::one("", Code::WrongType, format!("a value of the wrong type, at {at}"))
        }
    })
}

/// Distinguishes a field that is absent (`None`) from one that is `null` (`Some(None)`), as RFC 7396 requires.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Reads a list of objects.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Object(item)| item).collect())
}

/// As [`present`], for a list of objects.
pub(crate) fn present_objects<'de, D, T>(deserializer: D) -> Result<Option<Option<Vec<T>>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(Some(list.map(|list| list.into_iter().map(|Object(item)| item).collect())))
}

/// A struct that must be written as a JSON object. Serde alone would also read it from an array, field by field in
/// order, which no document of the API describes.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{objects, present, read_json};
    use crate::invalid::Code;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default, deserialize_with = "present")]
        word: Option<Option<String>>,
        #[serde(default, deserialize_with = "objects")]
        list: Vec<Item>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Item {
        word: String,
    }

    #[test]
    fn a_body_that_does_not_read_is_named_and_not_quoted() {
        for (body, code) in [
            (&b"{"[..], Code::Malformed),
            (b"", Code::Malformed),
            (b"{\"word\": \"\xff\"}", Code::Malformed),
            (b"{\"word\": \"\\ud800\"}", Code::Malformed),
            (b"{\"Donald\": 1}", Code::UnknownField),
            (b"{\"word\": \"a\", \"word\": \"Donald\"}", Code::DuplicateField),
            (b"{\"word\": [\"Donald\"]}", Code::WrongType),
            (b"\"Donald\"", Code::WrongType),
            (b"[\"Donald\"]", Code::WrongType),
            (b"{\"list\": [[\"Donald\"]]}", Code::WrongType),
        ] {
            let refused = read_json::<Body>(body).expect_err("refused");
            assert_eq!(refused.errors[0].code, code, "{body:?}");
            assert!(!refused.to_string().contains("Donald"), "{refused}");
        }
    }

    #[test]
    fn null_is_not_absence() {
        assert_eq!(read_json::<Body>(b"{}").expect("reads").word, None);
        assert_eq!(read_json::<Body>(b"{\"word\": null}").expect("reads").word, Some(None));
    }

    #[test]
    fn objects_in_lists_read() {
        let body: Body = read_json(br#"{"list": [{"word": "a"}, {}]}"#).expect("reads");
        assert_eq!(body.list, [Item { word: "a".into() }, Item::default()]);
    }
}
