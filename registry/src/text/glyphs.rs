//! Which characters a reader of a list sees.
//!
//! The properties come from `icu_properties` (Unicode's own data, already in the tree through `idna`); `char` of the
//! standard library has none of them, and `unicode-properties` lacks Default_Ignorable_Code_Point.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, NoncharacterCodePoint};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Characters that take no place of their own: joiners, directional marks, variation selectors, fillers (UAX #44,
/// Default_Ignorable_Code_Point).
pub(crate) fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Whether a character alone shows something: white space, marks, formatting and what has an empty glyph do not.
pub(crate) fn shows(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    // Characters of later versions of Unicode (unassigned here) and of private fonts may show something.
    let hidden = GeneralCategoryGroup::Mark
        .union(GeneralCategoryGroup::Separator)
        .union(GeneralCategoryGroup::Control)
        .union(GeneralCategoryGroup::Format);
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    // BRAILLE PATTERN BLANK is a symbol without dots. OBJECT REPLACEMENT CHARACTER stands for what text cannot hold.
    !hidden.contains(category) && !is_ignorable(c) && !matches!(c, '\u{2800}' | '\u{FFFC}')
}

/// A decimal digit of any script; fractions and Roman numerals are not digits.
pub(crate) fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
        || (!c.is_ascii() && CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::DecimalNumber)
}

/// Whether a character cannot be inside a text of one line: control characters, which include the usual line breaks, the
/// separators of lines and paragraphs, and noncharacters, which XML (and so a workbook) cannot hold.
pub(crate) fn breaks_text(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || (!c.is_ascii() && CodePointSetData::new::<NoncharacterCodePoint>().contains(c))
}

#[cfg(test)]
mod tests {
    use super::{breaks_text, is_digit, is_ignorable, shows};

    #[test]
    fn what_shows_nothing_is_known_as_a_class() {
        // One of each kind, and the ends of ranges.
        for c in "\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\
            \u{2028}\u{202a}\u{2060}\u{2061}\u{2064}\u{2065}\u{206f}\u{2800}\u{3000}\u{3164}\u{fe00}\u{fe0f}\u{feff}\
            \u{ffa0}\u{fff0}\u{fff9}\u{fffc}\u{1bca0}\u{1d173}\u{e0020}\u{e0fff}\u{301}\u{20dd}\u{903} \t\0\u{7f}"
            .chars()
        {
            assert!(!shows(c), "{:x}", u32::from(c));
        }
        // Letters, digits and symbols of any script; characters of later versions of Unicode and of private fonts.
        for c in "aZ7'=-ÄßЖ字あ한ا𐀀٣½😀\u{e000}\u{fffd}\u{378}".chars() {
            assert!(shows(c), "{:x}", u32::from(c));
        }
        assert!(!is_ignorable('\u{2800}') && !is_ignorable(' ') && is_ignorable('\u{2066}'));
    }

    #[test]
    fn digits_are_decimal() {
        assert!("07٣３७".chars().all(is_digit));
        assert!(!"½Ⅷ²①一x".chars().any(is_digit));
    }

    #[test]
    fn characters_that_xml_or_a_line_cannot_hold() {
        assert!("\0\t\r\n\u{85}\u{2028}\u{2029}\u{fdd0}\u{fffe}\u{ffff}\u{1fffe}\u{10ffff}".chars().all(breaks_text));
        assert!(!"a \u{a0}\u{200d}\u{fffd}\u{e000}😀".chars().any(breaks_text));
    }
}
