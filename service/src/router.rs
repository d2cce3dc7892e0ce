//! From a path and a method to a handler. A listener has one table of resources, and the table is all that it has: the
//! templates label metrics, `Allow` is made of the methods, and the answer to other paths lists the templates.
//!
//! `matchit` finds the template, as in axum. axum itself was passed over: its extractors would answer a malformed query
//! or body with texts of their own, and each of its routes boxes several futures.

use std::pin::Pin;

use api::problem::Kind;
use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use crate::problem::Problem;

/// Answers one call. `C` is the call with all that its handler needs, `R` the answer.
pub type Handler<C, R> = fn(C) -> Pin<Box<dyn Future<Output = R> + Send>>;

/// One resource: its path template, as in OpenAPI, and the handler of each of its methods.
pub struct Resource<C: 'static, R: 'static> {
    template: &'static str,
    methods: &'static [(Method, Handler<C, R>)],
    /// Whether `HEAD` is answered wherever `GET` is.
    head: bool,
}

/// Makes a handler of an async function of a call.
#[macro_export]
macro_rules! handler {
    ($answer:expr) => {
        |call| Box::pin(async move { ($answer)(call).await })
    };
}

/// The parts of a path that its template leaves open, by their names in the template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathNames(Vec<(String, String)>);

/// The resources of a listener.
pub struct Router<C: 'static, R: 'static> {
    resources: &'static [Resource<C, R>],
    paths: matchit::Router<usize>,
}

impl<C, R> Router<C, R> {
    /// A router for a table.
    ///
    /// # Panics
    /// If two templates match the same path. A table is constant, so its tests find that.
    #[must_use]
    pub fn new(resources: &'static [Resource<C, R>]) -> Router<C, R> {
        let mut paths = matchit::Router::new();
        for (index, resource) in resources.iter().enumerate() {
            paths.insert(resource.template, index).expect("a constant table, whose templates differ");
        }
        Router { resources, paths }
    }

    /// The resource at a path, and what its template leaves open.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(&'static Resource<C, R>, PathNames)> {
        let found = self.paths.at(path).ok()?;
        let names = found.params.iter().map(|(name, text)| (name.to_owned(), text.to_owned()));
        Some((&self.resources[*found.value], PathNames(names.collect())))
    }

    /// The handler of a method of a resource.
    ///
    /// # Errors
    /// The problem that there is no resource, or that it does not have the method.
    pub fn handler(&self, resource: Option<&Resource<C, R>>, method: &Method) -> Result<Handler<C, R>, Problem> {
        let resource = resource.ok_or_else(|| {
            let templates: Vec<&str> = self.resources.iter().map(|resource| resource.template).collect();
            Problem::new(Kind::NoRoute, format!("here are {}", templates.join(", ")))
        })?;
        resource.handler(method).ok_or_else(|| Problem::method(resource.allow()))
    }

    /// The answer to `OPTIONS`: the methods of a resource, or with the target `*` those of the listener (RFC 9110, section
    /// 9.3.7). `None` for other methods and where there is no resource.
    #[must_use]
    pub fn options(&self, parts: &Parts, resource: Option<&Resource<C, R>>) -> Option<Response<Bytes>> {
        if parts.method != Method::OPTIONS {
            return None;
        }
        let allow = match resource {
            Some(resource) => resource.allow(),
            None if parts.uri.path() == "*" => self.allow(),
            None => return None,
        };
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_str(&allow).ok()?);
        Some(response)
    }

    /// All methods of all resources.
    fn allow(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for resource in self.resources {
            let allow = resource.allow();
            names.extend(
                allow
                    .split(", ")
                    .filter(|name| !names.iter().any(|known| known == name))
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            );
        }
        names.join(", ")
    }

    /// For tests of a table: every template leads to itself, and none of the other paths leads anywhere.
    ///
    /// # Panics
    /// If that is not so.
    pub fn check(&self, elsewhere: &[&str]) {
        for resource in self.resources {
            let path = resource.template.replace(['{', '}'], "");
            let (found, _) = self.find(&path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(found.template, resource.template);
        }
        for path in elsewhere {
            assert!(self.find(path).is_none(), "{path}");
        }
    }
}

impl PathNames {
    /// The text at a name of the template; empty if the template does not have it.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text)
    }
}

impl<C, R> Resource<C, R> {
    /// A resource with the handlers of its methods.
    #[must_use]
    pub const fn new(template: &'static str, methods: &'static [(Method, Handler<C, R>)]) -> Resource<C, R> {
        Resource { template, methods, head: true }
    }

    /// The same resource without `HEAD`, because its answer to `GET` never ends.
    #[must_use]
    pub const fn endless(self) -> Resource<C, R> {
        Resource { template: self.template, methods: self.methods, head: false }
    }

    /// Its path template.
    #[must_use]
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// Its methods, as `Allow` names them.
    #[must_use]
    pub fn allow(&self) -> String {
        let names = self.methods.iter().map(|(method, _)| match *method {
            Method::GET if self.head => "GET, HEAD",
            ref method => method.as_str(),
        });
        names.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ")
    }

    /// The handler of a method. hyper leaves out the body of an answer to `HEAD`.
    fn handler(&self, method: &Method) -> Option<Handler<C, R>> {
        let wanted = if self.head && method == Method::HEAD { &Method::GET } else { method };
        self.methods.iter().find(|(known, _)| known == wanted).map(|(_, handler)| *handler)
    }
}

#[cfg(test)]
mod tests {
    use api::problem::Kind;
    use hyper::Method;

    use super::{Resource, Router};

    const TABLE: &[Resource<u8, u8>] = &[
        Resource::new("/a", &[(Method::GET, handler!(async |n| n + 1)), (Method::PUT, handler!(async |n| n))]),
        Resource::new("/a/{name}/events", &[(Method::GET, handler!(async |n| n))]).endless(),
    ];

    #[tokio::test]
    async fn a_call_finds_its_handler() {
        let router = Router::new(TABLE);
        router.check(&["", "/", "/a/", "/a//events", "/a/b", "/A"]);
        let (resource, names) = router.find("/a/b%20c/events").unzip();
        assert_eq!(names.unwrap().get("name"), "b%20c");
        assert_eq!(resource.unwrap().allow(), "GET, OPTIONS");
        let refused = |path: &str, method| {
            router.handler(router.find(path).unzip().0, &method).err().map(|problem| problem.kind())
        };
        assert_eq!(refused("/a/b/events", Method::HEAD), Some(Kind::Method));
        assert_eq!(refused("/a", Method::HEAD), None);
        assert_eq!(refused("/a", Method::DELETE), Some(Kind::Method));
        assert_eq!(refused("/b", Method::GET), Some(Kind::NoRoute));
        let options = |method: &str, path: &str| {
            let request = hyper::Request::builder().method(method).uri(path).body(()).unwrap();
            let answer = router.options(&request.into_parts().0, router.find(path).unzip().0)?;
            assert_eq!(answer.status(), 204);
            Some(answer.headers()["allow"].to_str().unwrap().to_owned())
        };
        assert_eq!(options("OPTIONS", "/a").as_deref(), Some("GET, HEAD, PUT, OPTIONS"));
        assert_eq!(options("OPTIONS", "*").as_deref(), Some("GET, HEAD, PUT, OPTIONS"));
        assert_eq!((options("OPTIONS", "/b"), options("GET", "/a")), (None, None));
        let handler = router.handler(router.find("/a").unzip().0, &Method::GET).unwrap();
        assert_eq!(handler(1).await, 2);
    }
}
