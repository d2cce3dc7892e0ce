//! Every text of the pages, by language. Messages are Project Fluent's (`fluent-bundle`), the format that Firefox is
//! translated in: plural forms and word order stay in the message file, and translators' tools read it.
//!
//! A further language is a further file in `node/texts` and its line in [`FILES`].
//!
//! # Invariants
//! - All languages have the same keys; a test compares them.
//! - What is put into a message is plain text, or escaped if the message itself is HTML.

use std::borrow::Cow;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use hyper::HeaderMap;
use hyper::header::ACCEPT_LANGUAGE;
use unic_langid::LanguageIdentifier;

/// The languages, by their tags. The first one is for clients that want none of them.
const FILES: [(&str, &str); 2] =
    [("en", include_str!("../../../texts/en.ftl")), ("de", include_str!("../../../texts/de.ftl"))];

static ALL: LazyLock<Vec<Texts>> =
    LazyLock::new(|| FILES.iter().map(|(tag, source)| Texts::read(tag, source)).collect());

/// The texts of one language.
pub(super) struct Texts {
    /// BCP 47.
    pub(super) tag: &'static str,
    language: LanguageIdentifier,
    bundle: FluentBundle<FluentResource>,
}

/// How many languages of `Accept-Language` are looked at.
const MOST_RANGES: usize = 32;

impl Texts {
    /// What is wrong with a file is found by the tests, so here it only loses a text.
    fn read(tag: &'static str, source: &str) -> Texts {
        let language: LanguageIdentifier = tag.parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![language.clone()]);
        // Isolation marks would become part of names that people copy; HTML isolates with <bdi>.
        bundle.set_use_isolating(false);
        let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
        let added = bundle.add_resource(resource);
        debug_assert!(added.is_ok(), "{tag}: {added:?}");
        Texts { tag, language, bundle }
    }

    /// All languages.
    pub(super) fn all() -> &'static [Texts] {
        &ALL
    }

    /// The language with this tag.
    pub(super) fn of(tag: &str) -> Option<&'static Texts> {
        ALL.iter().find(|texts| texts.tag == tag)
    }

    /// The language that the client prefers (RFC 9110, section 12.5.4). Regions of a language count as the language.
    ///
    /// fluent-langneg was passed over, because it ignores weights and these files have no regions to tell apart.
    pub(super) fn preferred(headers: &HeaderMap) -> &'static Texts {
        let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let ranges = asked.split(',').take(MOST_RANGES).filter_map(range);
        let known = ranges.filter_map(|(language, weight)| {
            let texts = ALL.iter().find(|texts| texts.language.language == language.language)?;
            (weight > 0.0).then_some((texts, weight))
        });
        // Of equal weights the first one counts.
        let best = known.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(&ALL[0], |(texts, _)| texts)
    }

    /// A text without parts to fill in.
    pub(super) fn text(&self, key: &str) -> Cow<'_, str> {
        self.fill(key, None)
    }

    /// A text with its parts.
    pub(super) fn with(&self, key: &str, parts: &[(&'static str, &str)]) -> String {
        let mut args = FluentArgs::new();
        for (name, text) in parts {
            args.set(*name, *text);
        }
        self.fill(key, Some(&args)).into_owned()
    }

    /// A text with its parts, numbers among them.
    pub(super) fn fill(&self, key: &str, args: Option<&FluentArgs<'_>>) -> Cow<'_, str> {
        let Some(pattern) = self.bundle.get_message(key).and_then(|message| message.value()) else {
            tracing::error!(key, language = self.tag, "a text is missing: the page shows its key");
            return Cow::Owned(key.to_owned());
        };
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, args, &mut errors);
        if !errors.is_empty() {
            // The errors name parts of the message and never what was filled in.
            tracing::error!(key, language = self.tag, "a text could not be filled in");
        }
        text
    }

    /// Whether there is such a text.
    pub(super) fn has(&self, key: &str) -> bool {
        self.bundle.has_message(key)
    }

    /// A region's name for people, or its id.
    pub(super) fn region(&self, id: &str) -> String {
        let key = format!("region-{id}");
        if self.has(&key) { self.text(&key).into_owned() } else { id.to_owned() }
    }

    /// Several texts as alternatives: "a", "a or b", "a or b or c".
    pub(super) fn any_of(&self, texts: &[String]) -> String {
        self.joined("list-or", texts)
    }

    /// Several texts that belong together.
    pub(super) fn joined(&self, key: &str, texts: &[String]) -> String {
        let mut texts = texts.iter();
        let first = texts.next().cloned().unwrap_or_default();
        texts.fold(first, |before, next| self.with(key, &[("first", &before), ("second", next)]))
    }
}

/// A language and its weight.
fn range(text: &str) -> Option<(LanguageIdentifier, f32)> {
    let (tag, weight) = text.split_once(';').unwrap_or((text, "q=1"));
    let weight = weight.trim().strip_prefix("q=")?.parse().ok()?;
    Some((tag.trim().parse().ok()?, weight))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::HeaderMap;
    use hyper::header::{ACCEPT_LANGUAGE, HeaderValue};

    use super::{FILES, Texts};

    fn keys(source: &str) -> BTreeSet<&str> {
        let key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
        source.lines().filter(key).filter_map(|line| line.split_once(" =")).map(|(key, _)| key).collect()
    }

    /// The names of the parts that a file fills in, with the keys that use them.
    fn parts(source: &str) -> BTreeSet<(String, String)> {
        let mut key = String::new();
        let mut parts = BTreeSet::new();
        for line in source.lines() {
            if let Some((new, _)) = line.split_once(" =").filter(|(new, _)| !new.starts_with([' ', '#'])) {
                new.clone_into(&mut key);
            }
            for part in line.split("{ $").skip(1) {
                let name = part.split([' ', '}']).next().unwrap_or_default();
                parts.insert((key.clone(), name.to_owned()));
            }
        }
        parts
    }

    #[test]
    fn every_language_has_the_same_texts_with_the_same_parts() {
        let (_, first) = FILES[0];
        for (tag, source) in FILES {
            assert_eq!(keys(source), keys(first), "{tag}");
            assert_eq!(parts(source), parts(first), "{tag}");
            let texts = Texts::of(tag).expect("a language");
            assert!(keys(source).into_iter().all(|key| texts.has(key)), "{tag}: every message is read");
        }
    }

    #[test]
    fn the_client_gets_the_language_that_it_prefers() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
            Texts::preferred(&headers).tag
        };
        for (accept, tag) in [
            ("de", "de"),
            ("de-AT", "de"),
            ("de-CH, en;q=0.5", "de"),
            ("en-GB,en;q=0.9,de;q=0.8", "en"),
            ("fr, de;q=0.3", "de"),
            ("en;q=0.2, de;q=0.9", "de"),
            ("fr", "en"),
            ("*", "en"),
            ("", "en"),
            ("ä;;;,,q=", "en"),
        ] {
            assert_eq!(of(accept), tag, "{accept}");
        }
        assert_eq!(Texts::preferred(&HeaderMap::new()).tag, "en");
    }

    #[test]
    fn texts_are_filled_in_without_marks() {
        let de = Texts::of("de").expect("German");
        assert_eq!(de.with("checkin-title", &[("venue", "Café")]), "Einchecken: Café");
        assert_eq!(de.any_of(&["A".into(), "B".into(), "C".into()]), "A oder B oder C");
        assert_eq!((de.region("eu-central").as_str(), de.region("mars").as_str()), ("Frankfurt", "mars"));
    }
}
