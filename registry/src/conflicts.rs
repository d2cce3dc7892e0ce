//! Concurrent values, as JSON shows them.

use std::collections::BTreeMap;

/// Concurrent values by JSON pointer, the winner first.
pub type Conflicts = BTreeMap<String, Vec<serde_json::Value>>;
