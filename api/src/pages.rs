//! The pages that nodes serve, as far as a router knows them: some of their forms may be sent twice.

use hyper::Method;

/// Forms of the console that only read, that name what they make, or that put what they hold in the place of what was.
const REPEATABLE_FORMS: [&str; 8] = [
    "/console/login",
    "/console/logout",
    "/console/register",
    "/console/guests",
    "/console/export",
    "/console/contacts",
    "/console/settings",
    "/console/slips",
];

/// Whether doing the request twice has the same effect as once: HTTP's idempotent methods (RFC 9110, section 9.2.2), the
/// forms of check-ins (`/c/`) and receipts (`/r/`), because each names the visit that it makes or changes, and most forms of
/// the console.
#[must_use]
pub fn is_idempotent(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS => true,
        Method::POST => path.starts_with("/c/") || path.starts_with("/r/") || REPEATABLE_FORMS.contains(&path),
        _ => false,
    }
}

/// Whether the request may be under way at two nodes at once: it may be done twice, and neither answer differs because the
/// other node has done it. After an erasure, one of two nodes would say that there is no such visit.
#[must_use]
pub fn may_be_hedged(method: &Method, path: &str) -> bool {
    let erases = *method == Method::DELETE || path.starts_with("/r/");
    is_idempotent(method, path) && (method.is_safe() || !erases)
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

    use super::{REPEATABLE_FORMS, is_idempotent, is_page, may_be_hedged};

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
        assert!(REPEATABLE_FORMS.iter().all(|path| is_idempotent(&Method::POST, path)));
        for path in ["/v1/venues", "/v1/venues/v/visits", "/console", "/console/close", "/c", "/"] {
            assert!(!is_idempotent(&Method::POST, path), "{path}");
        }
        assert!(!is_idempotent(&Method::PATCH, "/c/venue"));
    }

    #[test]
    fn what_erases_is_at_one_node_at_a_time() {
        let at_two =
            [(Method::PUT, "/v1/x"), (Method::GET, "/r/x"), (Method::POST, "/c/x"), (Method::POST, "/console/guests")];
        assert!(at_two.iter().all(|(method, path)| may_be_hedged(method, path)));
        let at_one = [(Method::DELETE, "/v1/x"), (Method::POST, "/r/x"), (Method::POST, "/console/close")];
        assert!(!at_one.iter().any(|(method, path)| may_be_hedged(method, path)));
    }
}
