//! The words of a guest table in one language.
//!
//! # Invariants
//! - A message file names any of these words; a word that it lacks stays English, and a key that is none of them is
//!   refused.
//!
//! # Not here
//! The message files, and which language a reader wants: the caller.

use std::borrow::Cow;

use serde::Deserialize;

use crate::guests::certainty::Certainty;

macro_rules! words {
    ($($(#[$about:meta])+ $name:ident = $english:literal,)+) => {
        /// The words of a guest table. The default is English.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct TableWords {
            $($(#[$about])+ pub $name: Cow<'static, str>,)+
        }

        impl TableWords {
            /// The name of each word, as a message file has it.
            pub const NAMES: &[&str] = &[$(stringify!($name),)+];
        }

        impl Default for TableWords {
            fn default() -> TableWords {
                TableWords { $($name: Cow::Borrowed($english),)+ }
            }
        }
    };
}

words! {
    /// Column: when the guests came, in the venue's time zone.
    arrived = "Arrived",
    /// Column: the offset from UTC at the arrival.
    arrived_offset = "UTC offset (arrived)",
    /// Column: when they left, in the venue's time zone.
    left = "Left",
    /// Column: the offset from UTC at the departure.
    left_offset = "UTC offset (left)",
    /// Column: the venue's time zone.
    time_zone = "Time zone",
    /// Column: whether the departure is an estimate.
    left_estimated = "Left is estimated",
    /// Column: how far the row can be relied on.
    certainty = "Certainty",
    /// Column: table or room.
    area = "Area",
    /// Column: the number of the person within the visit.
    person = "Person",
    /// Column: the number of the person through whom this person can be reached.
    contact_person = "Contact person",
    /// Column: full name.
    name = "Name",
    /// Column: telephone number.
    phone = "Phone",
    /// Column: e-mail address.
    email = "E-mail",
    /// Column: street and house number.
    street = "Street",
    /// Column: postal code.
    postal_code = "Postal code",
    /// Column: town.
    city = "City",
    /// Column: country.
    country = "Country",
    /// Column: the region that accepted the check-in.
    region = "Region",
    /// Column: concurrent values.
    conflicts = "Conflicting values",
    /// Column: the visit's id.
    visit_id = "Visit",
    /// Column of contacts: the length of the overlap in minutes.
    minutes = "Minutes together",
    /// Column of contacts: whether both may have been in one area.
    same_area = "Same area",
    /// Certainty: no other mark applies.
    exact = "exact",
    /// Certainty: no departure was recorded.
    end_estimated = "end estimated",
    /// Certainty: a field has several values.
    conflicting = "conflicting values",
    /// Certainty: the check-in was accepted long after the arrival.
    late = "arrived late",
    /// True.
    yes = "yes",
    /// False.
    no = "no",
    /// The sheet of guests: at most 31 characters, none of `[ ] : * ? / \`.
    guests_sheet = "Guests",
    /// The sheet of completeness: as above.
    completeness_sheet = "Completeness",
    /// Completeness: the moment through which a region's check-ins are all in the list.
    complete_through = "Complete through",
    /// Completeness: the offset from UTC at that moment.
    complete_offset = "UTC offset",
    /// Completeness: the node cannot tell for this region.
    unknown = "unknown",
    /// The number of rows that could not be read and are missing from the list.
    unreadable = "Unreadable rows, missing from this list",
    /// Contacts that are missing, because the table has as many as it may have.
    truncated = "Shorter contacts are missing from this list",
    /// Footer of a printed page; `{page}` and `{pages}` are replaced by numbers.
    page_of = "Page {page} of {pages}",
}

impl TableWords {
    /// A mark of a row.
    #[must_use]
    pub fn mark(&self, mark: Certainty) -> &str {
        match mark {
            Certainty::Exact => &self.exact,
            Certainty::EndEstimated => &self.end_estimated,
            Certainty::Conflicting => &self.conflicting,
            Certainty::Late => &self.late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TableWords;

    #[test]
    fn a_message_file_replaces_some_words_and_no_others() {
        let read: TableWords = toml::from_str("arrived = \"Ankunft\"").expect("reads");
        assert_eq!(read, TableWords { arrived: "Ankunft".into(), ..TableWords::default() });
        assert!(toml::from_str::<TableWords>("arived = \"Ankunft\"").is_err());
    }
}
