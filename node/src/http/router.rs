//! From a path and a method to a handler. A listener has one table of resources, and the table is all that it has: the
//! templates label metrics, and `Allow` is made of the methods.
//!
//! `matchit` finds the template, as in axum. axum itself was passed over: its extractors would answer a malformed query
//! or body with texts of their own, and each of its routes boxes several futures.

use std::pin::Pin;

use hyper::Method;

use super::call::{Call, PathNames};
use super::problem::{Kind, Problem};
use super::reply::Reply;

/// The answer of a handler.
pub(super) type AnswerFuture = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// Answers one call.
pub(super) type Handler = fn(Call) -> AnswerFuture;

/// One resource: its path template, as in OpenAPI, and the handler of each of its methods.
pub(super) struct Resource {
    pub(super) template: &'static str,
    methods: &'static [(Method, Handler)],
    /// Whether `HEAD` is answered wherever `GET` is.
    head: bool,
}

/// Makes a handler of an async function or closure of a [`Call`].
macro_rules! handler {
    ($answer:expr) => {
        |call| Box::pin(async move { ($answer)(call).await })
    };
}
pub(super) use handler;

/// The resources of a listener.
pub(super) struct Router {
    resources: &'static [Resource],
    paths: matchit::Router<usize>,
    /// The detail of the problem for a path that does not exist.
    elsewhere: &'static str,
}

impl Router {
    /// A router for a table. Two templates must not match the same path.
    pub(super) fn new(resources: &'static [Resource], elsewhere: &'static str) -> Router {
        let mut paths = matchit::Router::new();
        for (index, resource) in resources.iter().enumerate() {
            paths.insert(resource.template, index).expect("a constant table, whose templates differ");
        }
        Router { resources, paths, elsewhere }
    }

    /// The resource at a path, and what its template leaves open.
    pub(super) fn find(&self, path: &str) -> Option<(&'static Resource, PathNames)> {
        let found = self.paths.at(path).ok()?;
        let name = |name| found.params.get(name).unwrap_or_default().to_owned();
        let names = PathNames { venue: name("venue"), visit: name("visit"), region: name("region") };
        Some((&self.resources[*found.value], names))
    }

    /// Hands a call to its handler.
    pub(super) async fn answer(&self, resource: Option<&Resource>, call: Call) -> Result<Reply, Problem> {
        let resource = resource.ok_or_else(|| Problem::new(Kind::NoRoute, self.elsewhere))?;
        match resource.handler(&call.parts.method) {
            Some(handler) => handler(call).await,
            None => Err(Problem::method(resource.allow())),
        }
    }
}

impl Resource {
    pub(super) const fn new(template: &'static str, methods: &'static [(Method, Handler)]) -> Resource {
        Resource { template, methods, head: true }
    }

    /// The same resource without `HEAD`, because its answer to `GET` never ends.
    pub(super) const fn endless(self) -> Resource {
        Resource { head: false, ..self }
    }

    /// Its methods, as `Allow` names them.
    pub(super) fn allow(&self) -> String {
        let names = self.methods.iter().map(|(method, _)| match *method {
            Method::GET if self.head => "GET, HEAD",
            ref method => method.as_str(),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// The handler of a method. hyper leaves out the body of an answer to `HEAD`.
    fn handler(&self, method: &Method) -> Option<Handler> {
        let wanted = if self.head && method == Method::HEAD { &Method::GET } else { method };
        self.methods.iter().find(|(known, _)| known == wanted).map(|(_, handler)| *handler)
    }
}

#[cfg(test)]
impl Router {
    /// Every template leads to itself, and no other path leads anywhere.
    pub(super) fn check(&self, elsewhere: &[&str]) {
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
