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

pub(super) use assets::{asset, worker};
pub(super) use check_in::{accept, show};
pub use console::ConsoleKeys;
pub(super) use console::{
    ask, change, contacts, enter, export, leave, list, overview, poster, register, registration, settings, slip, speak,
    take,
};
pub(super) use page::trouble;
pub(super) use receipt::{act, open};

/// Whether a resource is a page for people: its problems are told in words, and not as JSON.
pub(super) fn is_page(template: &str) -> bool {
    ["/c/", "/r/", "/console"].iter().any(|start| template.starts_with(start))
}
