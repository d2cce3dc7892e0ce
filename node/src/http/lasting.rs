//! The lasting documents that belong to no tenant: orders and members. Each is read whole and changed field by field.

use replication::{Document, DocumentKey, DocumentName, Status, Value, Write};

use super::App;
use super::problem::Problem;
use crate::lasting;

/// A lasting document, if there is one.
pub(super) fn document(app: &App, status: &Status, name: &DocumentName) -> Result<Option<Document>, Problem> {
    let rows = app.handle.reader().rows(name, true, app.view(status))?;
    let Some((_, row)) = rows.into_iter().next() else { return Ok(None) };
    row.document().map(Some).map_err(|error| {
        app.metrics.unreadable_rows.inc();
        let error = &error as &dyn std::error::Error;
        let action = "compare the versions of the nodes; if they are equal, the store is damaged";
        tracing::error!(error, action, "a document of the cluster does not decode: it cannot be shown or changed");
        Problem::internal()
    })
}

/// Writes fields of a lasting document, which was read as `document`. `what` is the kind of write for the metrics.
pub(super) async fn set(
    app: &App,
    what: &'static str,
    key: &DocumentKey,
    document: Option<Document>,
    fields: &[(&str, Value)],
) -> Result<(), Problem> {
    if let Some(change) = lasting::change(key, document.as_ref(), fields) {
        app.write(what, Write::Change { key: *key, change }).await?;
    }
    Ok(())
}
