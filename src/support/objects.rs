//! Where backups are kept: files of this machine, and object storage with the API of S3.
//!
//! # Invariants
//! - A name is given only to a whole file. What is cut short is removed, or left to the rules of the bucket.
//!
//! # Why `object_store`
//! It is kept by the Arrow project, speaks both through one interface, and uploads in parts without holding the whole.

use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use url::Url;

use crate::args::Usage;

/// The end of the names of backups.
const SUFFIX: &str = ".age";

/// One file or object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
    /// As an operator writes it.
    pub(crate) shown: String,
}

impl Object {
    /// The object at a path, a `file:///` URL or an `s3://bucket/key` URL. In a folder it gets the name `name`. Without a
    /// name the text must be that of an object.
    pub(crate) fn at(text: &str, name: Option<&str>) -> anyhow::Result<Object> {
        let url = text.contains("://").then(|| text.parse::<Url>()).transpose();
        let url = url.map_err(|error| Usage::error(format!("`{text}` is no URL: {error}")))?;
        match url.as_ref().map(Url::scheme) {
            None => Object::file(FilePath::new(text), text, name),
            Some("file") => {
                let path = url.and_then(|url| url.to_file_path().ok());
                let path = path.ok_or_else(|| Usage::error(format!("`{text}`: write file:///folder/name")))?;
                Object::file(&path, text, name)
            }
            Some("s3") => Object::s3(text, name),
            Some(_) => Err(Usage::error(format!("`{text}`: write a path, file:///folder/name or s3://bucket/key"))),
        }
    }

    fn file(path: &FilePath, text: &str, name: Option<&str>) -> anyhow::Result<Object> {
        service::config::literal(path).map_err(|error| Usage::error(error.to_string()))?;
        let is_folder = text.ends_with('/') || path.is_dir();
        let path = match name {
            Some(name) if is_folder => path.join(name),
            None if is_folder => return Err(folder(text)),
            _ => path.to_owned(),
        };
        let path = std::path::absolute(path)?;
        let store = LocalFileSystem::new().with_fsync(true);
        Ok(Object { store: Arc::new(store), shown: path.display().to_string(), path: Path::from_absolute_path(path)? })
    }

    fn s3(text: &str, name: Option<&str>) -> anyhow::Result<Object> {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text = match name {
            Some(name) if !text.ends_with(SUFFIX) => format!("{}/{name}", text.trim_end_matches('/')),
            None if text.ends_with('/') => return Err(folder(text)),
            _ => text.to_owned(),
        };
        let url: Url = text.parse()?;
        let store = AmazonS3Builder::from_env().with_url(&text).build().map_err(|error| {
            Usage::error(format!(
                "{text} cannot be used: {error}. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION say who asks, \
                 AWS_ENDPOINT where the bucket is if it is not at Amazon"
            ))
        })?;
        Ok(Object { store: Arc::new(store), path: Path::from_url_path(url.path())?, shown: text })
    }

    /// Refuses an object that exists, because a backup never replaces another one.
    pub(crate) async fn check_new(&self) -> anyhow::Result<()> {
        match self.store.head(&self.path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(cause(error).context(format!("cannot look at {}", self.shown))),
            Ok(_) => Err(Usage::error(format!("{} exists already: give another name, or a folder", self.shown))),
        }
    }
}

/// The first cause of a failure. The others repeat it, with the answers of servers in full.
pub(crate) fn cause(error: object_store::Error) -> anyhow::Error {
    match error {
        object_store::Error::NotFound { .. } => anyhow::anyhow!("there is no such file or object"),
        error => anyhow::anyhow!("{}", anyhow::Error::new(error).root_cause()),
    }
}

fn folder(text: &str) -> anyhow::Error {
    Usage::error(format!("{text} is a folder: name one of the backups in it"))
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn a_place_is_a_file_a_folder_or_a_url() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |rest: &str| format!("{}{rest}", folder.path().display());
        let at = |text: &str| Object::at(text, Some("eu.age")).map(|object| object.shown).map_err(|e| e.to_string());
        assert_eq!(at(&inside("")), Ok(inside("/eu.age")), "a folder that exists");
        assert_eq!(at(&inside("/new/")), Ok(inside("/new/eu.age")));
        assert_eq!(at(&inside("/other.age")), Ok(inside("/other.age")));
        assert_eq!(at(&format!("file://{}", inside("/a%20b/"))), Ok(inside("/a b/eu.age")));
        assert!(at("~/x").unwrap_err().contains("write the whole path"));
        assert!(at("https://example.org/x").unwrap_err().contains("s3://"));
        assert!(Object::at(&inside(""), None).unwrap_err().to_string().contains("is a folder"));
        assert_eq!(at("s3://bucket/some/prefix"), Ok("s3://bucket/some/prefix/eu.age".to_owned()));
        let object = Object::at("s3://bucket/x/other.age", Some("eu.age")).unwrap();
        assert_eq!((object.path.as_ref(), &*object.shown), ("x/other.age", "s3://bucket/x/other.age"));
    }
}
