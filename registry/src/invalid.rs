//! The errors of a body: which field breaks which rule, in words. They become `errors[]` of a problem answer.
//!
//! # Invariants
//! - No detail repeats what was typed, because an error may reach a log, a phone call or a screenshot.
//! - All errors are reported at once, so that a guest corrects a form in one go.

use std::borrow::Cow;
use std::fmt;

use api::problem::ClockDifference;
use serde::Serialize;

api::named! {
    /// The rule that a field breaks. The codes never change, because clients choose their own words by them.
    Code {
        /// The body is not JSON.
        Malformed = "malformed",
        /// A field that no body of this kind has.
        UnknownField = "unknown_field",
        /// A field given twice.
        DuplicateField = "duplicate_field",
        /// A value of another JSON type than the field's.
        WrongType = "wrong_type",
        /// A field that must be given is not.
        Required = "required",
        /// None of the alternative ways to reach the person is given.
        ContactRequired = "contact_required",
        /// Longer than the field may be.
        TooLong = "too_long",
        /// More elements than the list may have.
        TooMany = "too_many",
        /// The same element twice.
        Repeated = "repeated",
        /// A control character (Unicode category Cc).
        ControlCharacter = "control_character",
        /// A character that reorders text on a screen (bidirectional override or isolate).
        BidiCharacter = "bidi_character",
        /// Not a telephone number.
        Phone = "phone",
        /// Not an e-mail address.
        Email = "email",
        /// Not a postal code of the country.
        PostalCode = "postal_code",
        /// Not an ISO 3166-1 alpha-2 code.
        Country = "country",
        /// Not an RFC 3339 time with an offset.
        Time = "time",
        /// An arrival too long ago.
        TooOld = "too_old",
        /// An arrival in the future.
        TooEarly = "too_early",
        /// A departure that is not after the arrival.
        NotAfterArrival = "not_after_arrival",
        /// A departure later after the arrival than the policy pack or the retention allows.
        StayTooLong = "stay_too_long",
        /// The arrival is not the one that the visit id carries.
        ArrivalMismatch = "arrival_mismatch",
        /// A field that never changes.
        Immutable = "immutable",
        /// An area that the venue does not have.
        UnknownArea = "unknown_area",
        /// Not an IANA time zone.
        Timezone = "timezone",
        /// Not a length of time.
        Duration = "duration",
        /// A retention outside the policy pack's bounds.
        Retention = "retention",
    }
}

/// One field that breaks one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// RFC 6901 JSON pointer into the body; empty for the body as a whole.
    pub pointer: String,
    /// The rule.
    pub code: Code,
    /// The rule in words, without the value.
    pub detail: Cow<'static, str>,
}

/// All errors of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Invalid {
    /// Not empty if it is returned as an error.
    pub errors: Vec<FieldError>,
    /// How the stated arrival differs from the server's time, if it is too far from it: the device's clock may be wrong.
    #[serde(skip)]
    pub clock: Option<ClockDifference>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid:")?;
        for error in &self.errors {
            write!(f, " {} {};", error.pointer, error.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    /// Records one broken rule.
    pub(crate) fn add(&mut self, pointer: impl Into<String>, code: Code, detail: impl Into<Cow<'static, str>>) {
        self.errors.push(FieldError { pointer: pointer.into(), code, detail: detail.into() });
    }

    /// `value` if there is no error.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Invalid> {
        if self.errors.is_empty() { Ok(value) } else { Err(self) }
    }

    /// An error of one broken rule.
    pub(crate) fn one(pointer: impl Into<String>, code: Code, detail: impl Into<Cow<'static, str>>) -> Invalid {
        let mut invalid = Invalid::default();
        invalid.add(pointer, code, detail);
        invalid
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Invalid};

    #[test]
    fn serialises_as_a_problem_lists_it() {
        let refused = Invalid::one("/persons/0/name", Code::TooLong, "at most 120 characters");
        let json = serde_json::to_value(&refused).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({"errors": [{"pointer": "/persons/0/name", "code": "too_long", "detail": "at most 120 characters"}]})
        );
    }
}
