//! The lasting documents that belong to no tenant: [`crate::orders`] and [`crate::members`]. Each has one field for each
//! region or node, so changes of two of them never conflict.

use replication::{Change, Collection, Document, DocumentKey, Value};

/// The collection of these documents.
pub(crate) const CLUSTER: Collection = Collection(3);

/// The change that sets fields of a document, which may not exist yet; `None` if they are as wanted.
pub(crate) fn change(key: &DocumentKey, document: Option<&Document>, fields: &[(&str, Value)]) -> Option<Change> {
    match document.filter(|document| !document.is_empty()) {
        Some(document) => {
            let fields = fields.iter().map(|(name, value)| (*name, Some(value.clone())));
            document.amend(key, &fields.collect::<Vec<_>>())
        }
        None => Some(Change::create(key, fields)),
    }
}
