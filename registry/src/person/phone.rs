//! Which text is a telephone number: what the trade's importers read, in any style.
//!
//! The grammar is that of libphonenumber's "viable phone number": digits of any script, one `+` at their beginning, the
//! usual punctuation, an extension at the end. Its ports (`phonenumber`, `rlibphonenumber`) were passed over: they decide by
//! the numbering plan of a country, which a guest from elsewhere does not give, and refuse short and unusual numbers.

use crate::text::{is_digit, is_ignorable};

/// The rule in words.
pub(crate) const FORM: &str = "a telephone number has 3 to 20 digits, and + - ( ) . / or spaces; an extension follows as `ext. 12`, `x12` or `#12`";

/// Words that begin an extension, the longest first.
const EXTENSIONS: [&str; 5] = ["extn", "ext", "ex", "x", "#"];

/// Most digits of an extension, as in libphonenumber.
const LONGEST_EXTENSION: usize = 9;

/// A telephone number without the invisible marks that come with copying it (directional marks, zero-width spaces). They
/// never mean anything in one, and no guest can see them to remove them.
pub(crate) fn without_marks(typed: &str) -> String {
    typed.chars().filter(|c| !is_ignorable(*c)).collect()
}

/// Whether a text is a telephone number.
pub(crate) fn is_phone(text: &str) -> bool {
    let end = text.find(|c: char| c.is_ascii_alphabetic() || c == '#').unwrap_or(text.len());
    let (number, extension) = text.split_at(end);
    let digits = number.chars().filter(|c| is_digit(*c)).count();
    let before = number.chars().take_while(|c| !is_digit(*c)).filter(|c| is_plus(*c)).count();
    let plus = number.chars().filter(|c| is_plus(*c)).count();
    number.chars().all(|c| is_digit(c) || is_plus(c) || is_punctuation(c))
        && (3..=20).contains(&digits)
        && plus == before
        && plus <= 1
        && (extension.is_empty() || is_extension(extension))
}

/// Whether a spreadsheet keeps a telephone number as it is. It computes with one that has only signs between its digits
/// (`+49-711`), and takes one without any for a number (`+49711`). A space between digits prevents both.
pub(crate) fn stays_text(text: &str) -> bool {
    let mut parts = text.split([' ', '\u{a0}']).filter(|part| part.chars().any(is_digit));
    is_phone(text) && parts.next().is_some() && parts.next().is_some()
}

fn is_plus(c: char) -> bool {
    matches!(c, '+' | '\u{FF0B}')
}

fn is_punctuation(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '(' | ')' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn is_extension(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some(rest) = EXTENSIONS.iter().find_map(|word| lower.strip_prefix(word)) else { return false };
    let number = rest.trim_start_matches(['.', ' ', ':']).trim_end();
    (1..=LONGEST_EXTENSION).contains(&number.chars().count()) && number.chars().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::{is_phone, stays_text, without_marks};

    #[test]
    fn phones_in_every_style() {
        for phone in [
            "0711 123456",
            "+49 (0)711 / 12 34 56",
            "0049-711-123456",
            "(030) 123.456",
            "(+49) 30 123",
            "112",
            "+1-202-555-0143 x12",
            "＋49 30 123456",
            "٠٣٠ ١٢٣٤٥٦",
            "030 123456 ext. 7",
            "030 123456 Ext 7",
            "030 123456#7",
            "+49\u{a0}30\u{a0}123456",
            "030 – 123 45 67",
        ] {
            assert!(is_phone(phone), "{phone}");
        }
    }

    #[test]
    fn what_no_importer_reads_is_no_phone() {
        for text in [
            "12",
            "call me",
            "123456789012345678901",
            "030-12<3>456",
            "0711 123456 (Anna)",
            "1;2=345",
            "½½½",
            "ⅧⅧⅧ",
            "xxx123",
            "x123",
            "123x",
            "123 x x4",
            "123 ext. 1234567890",
            "tex123",
            "1e5234",
            "++49 711",
            "0711+123",
            "=123",
            "",
        ] {
            assert!(!is_phone(text), "{text}");
        }
    }

    #[test]
    fn marks_of_copying_are_dropped() {
        for typed in
            ["\u{202a}+49 30 123\u{202c}", "\u{2068}+49 30 123\u{2069}", "\u{feff}+49\u{200b} 30 \u{200e}123\u{2060}"]
        {
            assert_eq!(without_marks(typed), "+49 30 123");
        }
    }

    #[test]
    fn only_a_space_between_digits_keeps_a_spreadsheet_from_computing() {
        for text in ["+49 711 123", "(+49) 711-123", "+49\u{a0}711"] {
            assert!(stays_text(text), "{text}");
        }
        for text in ["+49711123", "+49-711-123", "+ 49711", "+49711 ", "+49 x", "=1 2 3", "+1 2 SUM"] {
            assert!(!stays_text(text), "{text}");
        }
    }
}
