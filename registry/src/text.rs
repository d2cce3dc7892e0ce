//! Which text is valid: it is kept as typed, or refused. Nothing is ever removed from within it.
//!
//! Names may be anything that people are called: there is no list of letters, no capitalisation, no collapsing of
//! spaces. Only two kinds of character are refused, because they deceive the readers of a list or break its lines:
//! control characters with all other breaks of lines, and characters that reorder the text around them (Unicode UAX #9
//! overrides, embeddings and isolates). Text that shows nothing is blank, whatever it consists of, because a name of
//! invisible characters names no one. Encoding for an output (HTML, CSV, a log) happens at that output.

mod glyphs;

pub(crate) use glyphs::{is_digit, is_ignorable, shows};

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

use crate::invalid::{Code, Invalid};
use glyphs::breaks_text;

/// The longest name of an area, in characters.
pub(crate) const MAX_AREA_CHARS: usize = 32;

/// Bytes allowed per character: enough for any script, and too few to pile a page of marks on one letter.
const BYTES_PER_CHAR: usize = 8;

/// Whether a character reorders the text around it.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Text without outer white space, in NFC, whether or not it is valid; `None` if nothing is left.
pub(crate) fn composed(typed: &str) -> Option<String> {
    let trimmed = typed.trim();
    // Most text is composed already.
    let text = match is_nfc_quick(trimmed.chars()) {
        IsNormalized::Yes => trimmed.to_owned(),
        _ => trimmed.nfc().collect(),
    };
    (!text.is_empty()).then_some(text)
}

/// Text in its one stored form: outer white space trimmed, NFC. `None` if nothing of it shows, because a form sends an
/// empty text for an untouched field. Errors are recorded at `pointer`.
///
/// `max_chars` counts what a reader sees as one character (UAX #29 grapheme clusters).
pub(crate) fn clean(
    typed: Option<&str>,
    pointer: impl FnOnce() -> String,
    max_chars: usize,
    invalid: &mut Invalid,
) -> Option<String> {
    let trimmed = typed?.trim();
    if trimmed.is_empty() {
        return None;
    }
    let is_ascii = trimmed.is_ascii();
    if trimmed.chars().any(breaks_text) {
        invalid.add(pointer(), Code::ControlCharacter, "must not contain control characters or breaks of lines");
        return None;
    }
    if !is_ascii && trimmed.chars().any(reorders) {
        invalid.add(pointer(), Code::BidiCharacter, "must not contain characters that change the direction of writing");
        return None;
    }
    if !trimmed.chars().any(shows) {
        return None;
    }
    let text = composed(trimmed)?;
    // Every check-in runs this code, and most text is short in every measure.
    let is_short = text.len() <= max_chars;
    if !is_short && (text.len() > max_chars * BYTES_PER_CHAR || text.graphemes(true).count() > max_chars) {
        invalid.add(pointer(), Code::TooLong, format!("at most {max_chars} characters"));
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use proptest::{prop_assert, prop_assert_eq};
    use unicode_normalization::UnicodeNormalization;

    use super::{clean, shows};
    use crate::invalid::{Code, Invalid};

    fn refused(text: &str, max_chars: usize) -> Code {
        let mut invalid = Invalid::default();
        assert_eq!(clean(Some(text), || "/x".to_owned(), max_chars, &mut invalid), None);
        invalid.errors.first().expect("noted").code
    }

    #[test]
    fn names_survive() {
        for name in [
            "O'Connor",
            "Ærø",
            "Nguyễn",
            "Παπαδόπουλος",
            "Halle (Saale)",
            "=cmd",
            "Null",
            "X",
            "עִברִית",
            "5/2",
            "Zoë  Müller-Lüdenscheidt",
            "D’Angelo",
            "می\u{200c}خواهم",
        ] {
            let mut invalid = Invalid::default();
            assert_eq!(clean(Some(name), || "/x".to_owned(), 120, &mut invalid), Some(name.nfc().collect()));
            assert_eq!(invalid, Invalid::default());
        }
    }

    #[test]
    fn decomposed_text_is_stored_composed_and_blank_text_is_absent() {
        let mut invalid = Invalid::default();
        assert_eq!(
            clean(Some("Mu\u{308}ller\u{a0}"), || "/x".to_owned(), 120, &mut invalid).as_deref(),
            Some("Müller")
        );
        assert_eq!(clean(Some(" \t "), || "/x".to_owned(), 120, &mut invalid), None);
        assert_eq!(invalid, Invalid::default());
    }

    /// Each of these passed as a name once.
    #[test]
    fn text_that_shows_nothing_is_blank() {
        for typed in [
            "\u{200b}",
            "\u{feff}",
            "\u{ad}",
            "\u{3164}",
            "\u{2800}",
            "\u{115f}\u{1160}",
            "\u{e0020}\u{e007f}",
            "\u{301}\u{302}",
            " \u{200e} \u{2060} ",
            "\u{fe0f}\u{200d}",
        ] {
            let mut invalid = Invalid::default();
            assert_eq!(clean(Some(typed), || "/x".to_owned(), 120, &mut invalid), None, "{typed:?}");
            assert_eq!(invalid, Invalid::default());
        }
    }

    #[test]
    fn deceiving_characters_and_excess_are_refused() {
        assert_eq!(refused("a\u{0}b", 120), Code::ControlCharacter);
        assert_eq!(refused("a\nb", 120), Code::ControlCharacter);
        assert_eq!(refused("a\u{85}b", 120), Code::ControlCharacter);
        assert_eq!(refused("a\u{2028}b", 120), Code::ControlCharacter);
        assert_eq!(refused("a\u{2029}b", 120), Code::ControlCharacter);
        assert_eq!(refused("a\u{FFFE}b", 120), Code::ControlCharacter);
        assert_eq!(refused("\u{202E}nomis", 120), Code::BidiCharacter);
        assert_eq!(refused("a\u{2066}b", 120), Code::BidiCharacter);
        assert_eq!(refused(&"n".repeat(121), 120), Code::TooLong);
        assert_eq!(refused(&format!("Z{}", "\u{317}".repeat(600)), 120), Code::TooLong);
    }

    #[test]
    fn length_is_what_a_reader_counts() {
        let mut invalid = Invalid::default();
        // One letter with two marks that have no composed form counts once.
        let typed = "q\u{323}\u{307}".repeat(120);
        assert!(clean(Some(&typed), || "/x".to_owned(), 120, &mut invalid).is_some());
    }

    proptest! {
        /// Accepted text differs from typed text only in outer white space and normalisation, and is stable.
        #[test]
        fn accepted_text_is_the_typed_text(typed in "\\PC{0,40}") {
            let mut invalid = Invalid::default();
            if let Some(text) = clean(Some(&typed), || "/x".to_owned(), 120, &mut invalid) {
                prop_assert_eq!(&text, &typed.trim().nfc().collect::<String>());
                prop_assert_eq!(clean(Some(&text), || "/x".to_owned(), 120, &mut invalid), Some(text));
            } else {
                prop_assert!(!typed.chars().any(shows) || !invalid.errors.is_empty());
            }
        }
    }
}
