//! The pages that nodes serve, as far as a router knows them: some of their forms may be sent twice.

use hyper::Method;

/// Whether doing the request twice has the same effect as once: HTTP's idempotent methods (RFC 9110, section 9.2.2), and
/// the forms of check-ins (`/c/`) and receipts (`/r/`), because each names the visit that it makes or changes.
#[must_use]
pub fn is_idempotent(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS => true,
        Method::POST => path.starts_with("/c/") || path.starts_with("/r/"),
        _ => false,
    }
}

/// Whether a person opens this path in a browser: a page, or a path that leads nowhere. Everything below `/v1/` is for
/// programs, assets are parts of pages, and so is the worker.
#[must_use]
pub fn is_page(path: &str) -> bool {
    !["/v1/", "/assets/", "/worker.js", "/healthz", "/readyz"].iter().any(|start| path.starts_with(start))
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::{is_idempotent, is_page};

    #[test]
    fn a_person_opens_pages_and_wrong_addresses() {
        assert!(["/", "/c/x", "/r/x", "/console", "/console/", "/v1"].into_iter().all(is_page));
        assert!(!["/v1/venues", "/assets/a.css", "/worker.js", "/healthz"].into_iter().any(is_page));
    }

    #[test]
    fn forms_that_name_their_visit_may_be_sent_twice() {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert!(is_idempotent(&method, "/v1/venues"), "{method}");
        }
        assert!(is_idempotent(&Method::POST, "/c/venue/area") && is_idempotent(&Method::POST, "/r/visit"));
        for path in ["/v1/venues", "/v1/venues/v/visits", "/console", "/c", "/"] {
            assert!(!is_idempotent(&Method::POST, path), "{path}");
        }
        assert!(!is_idempotent(&Method::PATCH, "/c/venue"));
    }
}
