//! What a typed body looks like in its document, whatever the rules are: this recognises a request that is sent again.
//!
//! # The problem
//! A repeat has the answer of the first request in every region, for as long as the visit lives (I8). Meanwhile rules
//! change: a pack allows shorter stays, a release refuses texts that show nothing. If a rule had a say in the stored form,
//! a repeat would be refused, or it would be taken for other content.
//!
//! # The rule
//! The stored form depends on what was typed alone: no bound and no rule of any pack is asked. Where a release changed the
//! form itself, both forms are compared with what is stored.
//!
//! # Invariants
//! - [`Edition::Present`] makes the fields that [`VisitBody::check`](crate::visit::body::VisitBody::check) makes of a body
//!   that it accepts.
//! - The form of an earlier edition never changes.

use crate::person::{Person, PersonField, phone};
use crate::text::{composed, shows};
use api::Moment;
use replication::Wall;

/// A range of releases that stored what was typed in the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    /// A text that shows nothing is absent, a telephone number has no invisible marks, a time is one of RFC 3339.
    Present,
    /// Release 0.1: a text is absent only if it has nothing but white space, and a time is any that `jiff` reads.
    Release01,
}

impl Edition {
    /// All of them, the present one first.
    pub(crate) const ALL: [Edition; 2] = [Edition::Present, Edition::Release01];

    /// A text as it is stored; `None` if it is absent.
    pub(crate) fn text(self, typed: Option<&str>) -> Option<String> {
        let typed = typed?;
        if self == Edition::Present && !typed.chars().any(shows) {
            return None;
        }
        composed(typed)
    }

    /// The time that a text states, if it states one.
    pub(crate) fn moment(self, text: &str) -> Option<Wall> {
        match self {
            Edition::Present => Moment::read(text),
            Edition::Release01 => Moment::read_as_release_0_1(text),
        }
    }

    /// A time that may be absent. `None` if the text states none.
    #[expect(clippy::option_option, reason = "a text without a time and no text are different outcomes")]
    pub(crate) fn moment_if_given(self, text: Option<&str>) -> Option<Option<Wall>> {
        text.map(|text| self.moment(text)).map_or(Some(None), |at| at.map(Some))
    }

    /// A person as it is stored; `None` if it has a departure that states no time.
    pub(crate) fn person(self, typed: &Person) -> Option<Person> {
        let mut person = Person::default();
        for field in PersonField::ALL {
            let unmarked = typed.get(field).filter(|_| field == PersonField::Phone && self == Edition::Present);
            let unmarked = unmarked.map(phone::without_marks);
            let text = self.text(unmarked.as_deref().or(typed.get(field)));
            person.set(
                field,
                match text {
                    Some(text) if field == PersonField::Left => Some(Moment(self.moment(&text)?).to_string()),
                    text => text,
                },
            );
        }
        Some(person)
    }
}

#[cfg(test)]
mod tests {
    use super::Edition;
    use crate::person::Person;

    #[test]
    fn each_edition_has_its_form() {
        let text = |typed: &str| Edition::ALL.map(|edition| edition.text(Some(typed)));
        let both = |text: &str| [Some(text.to_owned()), Some(text.to_owned())];
        assert_eq!(text(" Mu\u{308}ller\u{a0}"), both("Müller"));
        assert_eq!(text("\u{200b}"), [None, Some("\u{200b}".to_owned())]);
        assert_eq!(text(" \t "), [None, None]);
        // What is refused today has a form all the same.
        assert_eq!(text("a\u{2028}b"), both("a\u{2028}b"));
        assert_eq!(text(&"n".repeat(300)), both(&"n".repeat(300)));

        let time = |text: &str| Edition::ALL.map(|edition| edition.moment(text).is_some());
        assert_eq!(time("2026-01-01T18:30:00+01:00"), [true, true]);
        assert_eq!(time("2026-01-01T18:30Z"), [false, true]);
        assert_eq!(time("soon"), [false, false]);
        assert_eq!(Edition::Present.moment_if_given(None), Some(None));
        assert_eq!(Edition::Present.moment_if_given(Some("soon")), None);

        let person = Person { phone: Some("\u{202d}0711 1\u{202c}".into()), ..Person::default() };
        let phone = Edition::ALL.map(|edition| edition.person(&person).expect("no time").phone);
        assert_eq!(phone, [Some("0711 1".to_owned()), person.phone.clone()]);
        let left = |text: &str| {
            let person = Person { left: Some(text.into()), ..Person::default() };
            Edition::ALL.map(|edition| edition.person(&person).map(|person| person.left))
        };
        let at = Some(Some("2026-01-01T17:30:00.000Z".to_owned()));
        assert_eq!(left("2026-01-01T18:30+01:00"), [None, at.clone()]);
        assert_eq!(left("2026-01-01T17:30:00Z"), [at.clone(), at]);
        assert_eq!(left(" "), [Some(None), Some(None)]);
    }
}
