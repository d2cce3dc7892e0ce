//! Pages for people: HTML that works without JavaScript, on a small phone, in each language that has a message file.
//!
//! | file | concern |
//! | --- | --- |
//! | `check_in.rs` | `/c/{venue}`: the form of a check-in and its errors |
//! | `receipt.rs` | `/r/{visit}`: the guest's record, departure, correction, erasure |
//! | `console.rs` | `/console`: the owner's pages |
//! | `fields.rs` | which fields a form asks for, by the venue's policy pack |
//! | `form.rs` | what a submitted form says |
//! | `shown.rs` | how stored persons and concurrent values are shown |
//! | `texts.rs`, `times.rs` | every text comes from a message file (`node/texts`) |
//! | `engine.rs`, `page.rs` | from a template (`node/templates`) to an answer with its security headers |
//! | `assets.rs` | styles, scripts and pictures (`node/assets`), under names that change with their content |
//!
//! # Invariants
//! - No personal data, secret or key is part of an address that a browser sends: they travel in bodies alone.
//! - No page is cached and no page tells another site where a guest comes from; assets are cached for ever.
//! - A page runs only this service's own scripts and styles; nothing is inline.
//! - What a person typed appears in a page only through the template engine, which escapes it.
//! - A handler returns its problem, and the listener shows it as a page, so no problem of a page is JSON.
//!
//! # Not here
//! The rules of a visit: `registry`. What a check-in, a correction and an erasure do: [`super::visits`].

mod assets;
mod check_in;
mod console;
mod engine;
mod fields;
mod form;
mod page;
mod receipt;
mod shown;
#[cfg(test)]
mod tests;
mod texts;
mod times;

use api::pages::is_page;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::http::request::Parts;

pub(super) use assets::{asset, worker};
pub(super) use check_in::{accept, show};
pub(super) use console::{
    ask, change, close, contacts, enter, export, leave, list, overview, poster, register, registration, settings, slip,
    speak, take,
};
pub(super) use page::trouble;
pub(super) use receipt::{act, open};

/// Whether a person reads the answer, so that a problem is told in words and not as JSON: at a page, and at an address
/// that leads nowhere if a browser opens it.
pub(super) fn is_for_person(template: Option<&str>, parts: &Parts) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|types| types.contains("text/html"));
    match template {
        Some(template) => ["/c/", "/r/", "/console"].iter().any(|start| template.starts_with(start)),
        None => is_page(parts.uri.path()) && parts.headers.get_all(ACCEPT).iter().any(accepts),
    }
}
