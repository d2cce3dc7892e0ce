//! From a template to an answer: the frame that all pages share, and the headers that keep a page private.

use api::headers::PAGE;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;

use super::super::problem::{Kind, Problem};
use super::super::reply::{Reply, full};
use super::engine;
use super::texts::Texts;

/// Scripts, styles and pictures from this address alone, no inline code, no frames, forms to this address alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// What all pages share.
#[derive(Serialize)]
pub(super) struct Frame {
    /// Without the name of the product.
    pub(super) title: String,
    /// The language's tag.
    pub(super) tag: &'static str,
    /// Where the same page is in each language; empty if the page is the answer to a form.
    pub(super) languages: Vec<LanguageLink>,
    /// Which page of the owner's console this is; empty for all other pages.
    pub(super) console: &'static str,
    /// Whether the page is for a tablet at the door, which keeps nothing.
    pub(super) kiosk: bool,
}

/// The same page in a language.
#[derive(Serialize)]
pub(super) struct LanguageLink {
    tag: &'static str,
    name: String,
    address: String,
}

impl Frame {
    /// The frame of a page that a person opened by its address, or of the answer to a form.
    pub(super) fn new(texts: &Texts, title: String, parts: &Parts) -> Frame {
        let console = parts.uri.path().strip_prefix("/console");
        let is_page = console.is_some() || parts.method != hyper::Method::POST;
        let link = |other: &Texts| LanguageLink {
            tag: other.tag,
            name: other.text("language").into_owned(),
            address: match console {
                Some(page) => format!("/console/language?lang={}&page={}", other.tag, page.trim_start_matches('/')),
                None => in_language(parts.uri.path(), parts.uri.query(), other.tag),
            },
        };
        let languages = if is_page { Texts::all().iter().map(link).collect() } else { Vec::new() };
        Frame { title, tag: texts.tag, languages, console: "", kiosk: is_kiosk(parts) }
    }

    /// The frame of a page of the owner's console.
    pub(super) fn console(texts: &Texts, title: String, parts: &Parts) -> Frame {
        let page = match parts.uri.path() {
            "/console" => "overview",
            "/console/settings" => "settings",
            "/console/slips" => "slips",
            _ => "list",
        };
        Frame { console: page, ..Frame::new(texts, title, parts) }
    }
}

/// Whether the address asks for the page of a tablet at the door.
pub(super) fn is_kiosk(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "kiosk" && value == "1")
}

/// The language that the address names, or the one that the client prefers.
pub(super) fn language(parts: &Parts) -> &'static Texts {
    let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let named = pairs.into_iter().find(|(name, _)| name == "lang").and_then(|(_, tag)| Texts::of(&tag));
    // The console has cookies in any case, so it remembers the language.
    let chosen = || {
        let is_console = parts.uri.path().starts_with("/console");
        is_console.then(|| cookie(&parts.headers, LANGUAGE)).flatten().and_then(Texts::of)
    };
    named.or_else(chosen).unwrap_or_else(|| Texts::preferred(&parts.headers))
}

/// The cookie with the language of the console.
pub(super) const LANGUAGE: &str = "meridian-language";

/// A cookie of the request.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    cookies(headers).find(|(known, _)| *known == name).map(|(_, text)| text)
}

/// All cookies of the request: name and text.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The address of a page in a language; the rest of its query stays.
fn in_language(path: &str, query: Option<&str>, tag: &str) -> String {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut other = form_urlencoded::Serializer::new(String::new());
    other.extend_pairs(pairs.filter(|(name, _)| name != "lang")).append_pair("lang", tag);
    format!("{path}?{}", other.finish())
}

/// What a template gets.
#[derive(Serialize)]
struct Page<T> {
    /// Whether a form was not accepted. A title says that first, because a screen reader reads it first (WCAG 2.4.2).
    failed: bool,
    #[serde(flatten)]
    content: T,
}

/// An answer that shows a page.
pub(super) fn render(texts: &Texts, status: StatusCode, template: &'static str, content: impl Serialize) -> Reply {
    let kind = template.strip_suffix(".html").unwrap_or(template);
    let failed = !status.is_success() && status != StatusCode::GONE && status != StatusCode::NOT_FOUND;
    let page = Page { failed, content };
    let mut reply = match engine::fill(texts, template, page) {
        Ok(page) => full(status, page),
        Err(error) => {
            debug_assert!(false, "{error:#}");
            // The error names a template and a line, and no value.
            tracing::error!(template, line = error.line(), "a page cannot be made: the request fails");
            full(StatusCode::INTERNAL_SERVER_ERROR, texts.text("trouble").into_owned())
        }
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(texts.tag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept-language"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(PAGE, HeaderValue::from_static(kind));
    // Forms of the console must name their origin, which "no-referrer" would hide; other sites are told nothing.
    let referrer = if kind.starts_with("console") { "same-origin" } else { "no-referrer" };
    headers.insert(REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    reply
}

/// Sends the browser to another page (RFC 9110, section 15.4.4).
pub(super) fn redirect(to: &'static str) -> Reply {
    let mut reply = full(StatusCode::SEE_OTHER, "");
    reply.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A page with a heading and a paragraph.
#[derive(Serialize)]
struct MessagePage {
    frame: Frame,
    heading: String,
    words: String,
    /// Whether it shows the way to the console.
    home: bool,
}

/// A page for a problem that has nothing to do with what was typed.
pub(in super::super) fn trouble(parts: &Parts, problem: Problem) -> Reply {
    let texts = language(parts);
    // The address of the answer to a form was opened: reloaded, or kept as a bookmark.
    if problem.kind() == Kind::Method && parts.uri.path().starts_with("/console/") {
        return redirect("/console");
    }
    let (status, heading, words) = match problem.kind() {
        Kind::NoRoute => (StatusCode::NOT_FOUND, "missing-page-title", "missing-page"),
        Kind::NoVenue | Kind::MalformedId => (StatusCode::NOT_FOUND, "missing-venue-title", "missing-venue"),
        Kind::Closed => (StatusCode::GONE, "closed-title", "closed-venue"),
        kind @ (Kind::Uninvited | Kind::NoNewVenues) => (kind.status(), "uninvited-title", "uninvited"),
        kind => (kind.status(), "trouble-title", "trouble"),
    };
    let home = problem.kind() == Kind::NoRoute;
    let heading = texts.text(heading).into_owned();
    let frame = Frame::new(texts, heading.clone(), parts);
    let page = MessagePage { frame, heading, words: texts.text(words).into_owned(), home };
    let mut reply = render(texts, status, "message.html", &page);
    // The edge asks another node then, and cannot tell it from the words.
    if matches!(problem.kind(), Kind::NoVenue | Kind::Overloaded | Kind::Busy) {
        reply.headers_mut().insert(api::headers::PROBLEM, HeaderValue::from_static(problem.kind().slug()));
    }
    let told = problem.into_reply();
    for name in [ALLOW, RETRY_AFTER] {
        if let Some(value) = told.headers().get(&name) {
            reply.headers_mut().insert(name, value.clone());
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::in_language;

    #[test]
    fn a_link_to_a_language_keeps_the_rest_of_the_address() {
        assert_eq!(in_language("/c/x", None, "de"), "/c/x?lang=de");
        assert_eq!(in_language("/r/x", Some("v=a%20b&lang=en"), "de"), "/r/x?v=a+b&lang=de");
    }
}
