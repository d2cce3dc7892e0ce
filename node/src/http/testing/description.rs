//! The description of the API as a test reads it: every answer that a test gets is held to it.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;
use serde_json::Value;

/// Headers that any answer may have.
const GENERAL: [&str; 8] = [
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
    "x-content-type-options",
    // Pages of other origins are an option of the node.
    "vary",
];

/// An OpenAPI document.
pub(in super::super) struct Description(Value);

/// The methods of a table of resources, by their templates, as a description has them. HEAD is GET without its body, and
/// OPTIONS lists the methods: a description need not repeat them.
pub(in super::super) fn described<'a>(
    table: impl Iterator<Item = (&'a str, String)>,
) -> BTreeMap<String, BTreeSet<String>> {
    let methods = |allow: &str| {
        allow.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method)).map(str::to_owned).collect()
    };
    table.map(|(template, allow)| (template.to_owned(), methods(&allow))).collect()
}

impl Description {
    pub(in super::super) fn of(document: &[u8]) -> Description {
        Description(serde_json::from_slice(document).expect("JSON"))
    }

    fn paths(&self) -> &serde_json::Map<String, Value> {
        self.0["paths"].as_object().expect("paths")
    }

    /// The operations whose body has this field: path and method.
    pub(in super::super) fn with_field(&self, field: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (path, item) in self.paths() {
            for (method, operation) in item.as_object().expect("an item") {
                let schema = self.resolved(&operation["requestBody"]["content"]["application/json"]["schema"]);
                if !schema["properties"][field].is_null() {
                    found.insert((path.clone(), method.to_uppercase()));
                }
            }
        }
        found
    }

    /// The methods of each path.
    pub(in super::super) fn methods(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = |item: &Value| {
            let names = item.as_object().expect("an item").keys().filter(|name| *name != "parameters");
            names.map(|name| name.to_uppercase()).collect()
        };
        self.paths().iter().map(|(path, item)| (path.clone(), names(item))).collect()
    }

    /// What a reference leads to.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let found = self.0.pointer(reference.strip_prefix('#').expect("within the document"));
        found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// Panics if an answer is not described: its status, its media type, a header.
    pub(super) fn hold(&self, method: &str, path: &str, status: u16, headers: &[(&str, &str)]) {
        let path = path.split('?').next().unwrap_or_default();
        let fits = |template: &str| {
            let (own, asked) = (template.split('/'), path.split('/'));
            own.clone().count() == asked.clone().count()
                && own.zip(asked).all(|(own, asked)| own == asked || (own.starts_with('{') && !asked.is_empty()))
        };
        // Pages and addresses without a resource are not described.
        let Some((template, item)) = self.paths().iter().find(|(template, _)| fits(template)) else { return };
        let operation = &item[if method == Method::HEAD { "get".to_owned() } else { method.to_lowercase() }];
        let place = format!("{method} {template} answers {status}");
        if operation.is_null() {
            assert!(status == 405 || (status == 204 && method == Method::OPTIONS), "{place}");
            return;
        }
        let response = self.resolved(&operation["responses"][status.to_string()]);
        assert!(response.is_object(), "{place}, which is not described");
        let described = response["headers"].as_object().map(|headers| headers.keys().map(|name| name.to_lowercase()));
        let described: BTreeSet<String> = described.into_iter().flatten().collect();
        for (name, value) in headers {
            let name = name.to_lowercase();
            let known =
                GENERAL.contains(&name.as_str()) || name.starts_with("access-control-") || described.contains(&name);
            assert!(known, "{place} with {name}, which is not described");
            if name == "content-type" {
                let essence = value.split(';').next().unwrap_or_default();
                assert!(response["content"][essence].is_object(), "{place} with {essence}, which is not described");
            }
        }
    }
}
