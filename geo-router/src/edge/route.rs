//! The template of a request's path, by which the access log names it.

use std::sync::LazyLock;

use api::routes::{NONE, PROBES, PUBLIC};

static TEMPLATES: LazyLock<matchit::Router<&'static str>> = LazyLock::new(|| {
    let mut templates = matchit::Router::new();
    for template in PUBLIC.into_iter().chain(PROBES) {
        // Two templates of one path would be a mistake in the list, which the test below finds.
        let _ = templates.insert(template, template);
    }
    templates
});

/// The template of a path, [`NONE`] for a path that no node serves.
pub(super) fn template(path: &str) -> &'static str {
    TEMPLATES.at(path).map_or(NONE, |found| *found.value)
}

#[cfg(test)]
mod tests {
    use super::{NONE, PROBES, PUBLIC, template};

    #[test]
    fn every_template_is_found_and_no_other_path_is() {
        for known in PUBLIC.into_iter().chain(PROBES) {
            assert_eq!(template(&known.replace(['{', '}'], "")), known);
        }
        assert_eq!(template("/v1/venues/7ZZ/visits/0190-8"), "/v1/venues/{venue}/visits/{visit}");
        for path in ["/", "*", "/v1/venues/", "/v1/venues/a/visits/b/c", "/Erika", "/metrics", ""] {
            assert_eq!(template(path), NONE, "{path}");
        }
    }
}
