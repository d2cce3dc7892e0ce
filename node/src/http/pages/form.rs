//! What a submitted form says (`application/x-www-form-urlencoded`).
//!
//! # Invariants
//! - Names that a form does not have are ignored, because browsers and their extensions add some.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use registry::{Person, PersonField, Secret, VisitId};
use replication::Wall;

use super::super::auth;
use super::super::problem::{Kind, Problem};

/// The largest form. A character of a name may take nine bytes in percent-encoding.
const LARGEST: usize = 64 * 1024;

/// How long a form may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// Most fields that are looked at.
const MOST_FIELDS: usize = 256;

/// Most persons of one form.
pub(super) const MOST_PERSONS: usize = 12;

/// The fields of a form as they were typed. `Debug` is missing, because they must not reach a log.
#[derive(Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub(super) async fn read(headers: &HeaderMap, body: Incoming) -> Result<Form, Problem> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::new(Kind::MediaType, "send application/x-www-form-urlencoded"));
        }
        let body: Bytes = match tokio::time::timeout(DEADLINE, Limited::new(body, LARGEST).collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Problem::new(Kind::TooLarge, "a form has at most 64 KiB"));
            }
            Ok(Err(_)) => return Err(Problem::new(Kind::MalformedBody, "the form ended early")),
            Err(_) => return Err(Problem::new(Kind::BodyTimeout, "the whole form is expected within 10 seconds")),
        };
        Ok(Form::parse(&body))
    }

    /// A form with one field, filled from the query of the page's address.
    pub(super) fn of_query(parts: &Parts, field: &str) -> Form {
        let Form(mut pairs) = Form::parse(parts.uri.query().unwrap_or_default().as_bytes());
        pairs.retain(|(name, _)| name == field);
        Form(pairs)
    }

    fn parse(body: &[u8]) -> Form {
        let pairs = form_urlencoded::parse(body).take(MOST_FIELDS);
        Form(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A field's text; empty if the form does not have it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text)
    }

    /// Whether the form has the field, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The visit id and its secret, if the form carries both and they belong together.
    pub(super) fn identity(&self) -> Option<(VisitId, Secret)> {
        let id: VisitId = self.get("visit").parse().ok()?;
        let secret: Secret = self.get("secret").trim().parse().ok()?;
        id.proves(&secret).then_some((id, secret))
    }

    /// The persons with at least one field, each with its place in the form. Fields that were left empty are absent.
    pub(super) fn persons(&self) -> Vec<(usize, Person)> {
        let mut persons = Vec::new();
        for place in 0..MOST_PERSONS {
            let mut person = Person::default();
            for field in PersonField::ALL {
                let typed = self.get(&name_of(field, place));
                if !typed.trim().is_empty() {
                    person.set(field, Some(typed.to_owned()));
                }
            }
            // A departure alone, which forms carry unseen, is no person.
            if PersonField::DETAILS.iter().any(|field| person.get(*field).is_some()) {
                persons.push((place, person));
            }
        }
        persons
    }
}

/// An id for a form, and its secret.
pub(super) fn identity(now: Wall) -> Result<(VisitId, Secret), Problem> {
    let mut secret = Secret([0; 16]);
    auth::random(&mut secret.0)?;
    Ok((VisitId::of(now, &secret), secret))
}

/// The name of a person's field in a form.
pub(super) fn name_of(field: PersonField, place: usize) -> String {
    format!("{}-{}", field.json(), place + 1)
}

#[cfg(test)]
mod tests {
    use super::Form;
    use registry::Secret;
    use registry::VisitId;
    use replication::Wall;

    #[test]
    fn persons_are_those_with_a_field() {
        let form = Form::parse(b"name-1=Zo%C3%AB+Nguy%E1%BB%85n&phone-1=&name-3=X&city-13=far&name-1=second&=&%ff");
        let persons = form.persons();
        let names: Vec<_> = persons.iter().map(|(place, person)| (*place, person.name.as_deref())).collect();
        assert_eq!(names, [(0, Some("Zoë Nguyễn")), (2, Some("X"))]);
        assert_eq!(persons[0].1.phone, None);
    }

    #[test]
    fn an_identity_is_id_and_secret_that_belong_together() {
        let secret = Secret([5; 16]);
        let id = VisitId::of(Wall(1_767_225_600_000), &secret);
        let form = |secret: Secret| Form::parse(format!("visit={id}&secret={secret}").as_bytes()).identity().is_some();
        assert!(form(secret));
        assert!(!form(Secret([6; 16])));
        assert!(Form::parse(b"visit=1").identity().is_none());
    }
}
