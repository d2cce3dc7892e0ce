//! The folder of a deployment: made, recognised, locked, filled, and deleted only if `up` made it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use node::certs::CertificateAuthority;
use node::config::Engine;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::cli::Usage;

/// The file by which `up` knows a folder of its own; it holds the [`Settings`].
const MARKER: &str = "meridian-up.toml";

/// What a deployment's data depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Regions.
    pub(super) regions: u8,
    /// Nodes in each.
    pub(super) nodes: u8,
    /// What keeps the data.
    pub(super) engine: Engine,
}

/// A deployment's folder, ours alone as long as this value lives.
pub(super) struct Folder {
    path: PathBuf,
    made_with: Option<Settings>,
    _lock: File,
}

impl Folder {
    /// Opens or makes a folder; `fresh` empties it before.
    pub(super) fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let ours = path.join(MARKER).is_file();
        let empty = match path.read_dir() {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(error).with_context(|| format!("can't use {}", path.display())),
        };
        if !ours && !empty {
            return Err(Usage::error(format!(
                "{} holds something that `meridian up` did not make, and it is left alone: choose another folder with \
                 --data",
                path.display()
            )));
        }
        std::fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
        let lock = lock(&path)?;
        let mut made_with = None;
        if ours && fresh {
            empty_out(&path)?;
        } else if ours {
            let text = std::fs::read_to_string(path.join(MARKER))?;
            made_with =
                Some(toml::from_str(&text).with_context(|| format!("{} is damaged", path.join(MARKER).display()))?);
        }
        Ok(Self { path, made_with, _lock: lock })
    }

    /// Where it is, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The settings: as asked for, else as the folder was made, else the defaults; refuses what its data can't follow.
    pub(super) fn settle(
        &self,
        regions: Option<u8>,
        nodes: Option<u8>,
        engine: Option<Engine>,
    ) -> anyhow::Result<Settings> {
        let Some(made) = self.made_with else {
            let (regions, nodes) = (regions.unwrap_or(3), nodes.unwrap_or(1));
            return Ok(Settings { regions, nodes, engine: engine.unwrap_or_default() });
        };
        let fixed = |what: &str, asked: String, made: String| {
            Usage::error(format!(
                "{} was made with {what} {made}, which can't become {asked}: leave the option out, begin anew with \
                 --fresh, or use another --data",
                self.path.display()
            ))
        };
        if let Some(nodes) = nodes.filter(|nodes| *nodes != made.nodes) {
            return Err(fixed("--nodes", nodes.to_string(), made.nodes.to_string()));
        }
        if let Some(engine) = engine.filter(|engine| *engine != made.engine) {
            return Err(fixed("--engine", engine.to_string(), made.engine.to_string()));
        }
        // A region more begins empty and catches up; one that is left out keeps its folder until it is asked for again.
        Ok(Settings { regions: regions.unwrap_or(made.regions), ..made })
    }

    /// Writes certificates and configuration; what is good already stays.
    pub(super) fn write(&self, layout: &Layout, settings: &Settings) -> anyhow::Result<()> {
        // The marker first: a folder that is filled half must still be ours.
        std::fs::write(self.path.join(MARKER), toml::to_string(settings)?)?;
        let authority = CertificateAuthority::load_or_create(&layout.certs())?;
        for node in &layout.nodes {
            authority.issue(&node.name, false)?;
            std::fs::create_dir_all(&node.folder).with_context(|| format!("can't make {}", node.folder.display()))?;
            let text = format!(
                "# Written by `meridian up` at each start: changes are lost. config/node.toml explains the keys.\n\n{}",
                toml::to_string(&layout.file(node))?
            );
            std::fs::write(node.config(), text).with_context(|| format!("can't write {}", node.config().display()))?;
        }
        // A configuration of a region that is left out now would be asked by `status` and missed.
        for entry in self.path.read_dir()?.flatten() {
            let config = entry.path().join("node.toml");
            if config.is_file() && !layout.nodes.iter().any(|node| node.config() == config) {
                std::fs::remove_file(config)?;
            }
        }
        Ok(())
    }
}

/// Holds off a second `up` in the same folder; the system lets go when the process ends, however it ends.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Usage::error(format!(
            "another `meridian up` runs in {}: stop it, or use another --data",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("can't lock {}", path.display())),
    }
}

/// Deletes what is in a folder, the marker last: if this breaks off, the folder is still known as ours.
fn empty_out(path: &Path) -> anyhow::Result<()> {
    let marker = path.join(MARKER);
    for entry in path.read_dir()? {
        let entry = entry?;
        let file = entry.path();
        if file == marker {
            continue;
        }
        let removed =
            if entry.file_type()?.is_dir() { std::fs::remove_dir_all(&file) } else { std::fs::remove_file(&file) };
        removed.with_context(|| format!("can't delete {}", file.display()))?;
    }
    std::fs::remove_file(&marker).with_context(|| format!("can't delete {}", marker.display()))
}

#[cfg(test)]
mod tests {
    use node::config::Engine;

    use super::{Folder, MARKER};

    #[test]
    fn only_a_folder_of_ours_is_emptied() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("thesis.txt"), "years of work").unwrap();
        for fresh in [false, true] {
            assert!(Folder::open(&path, fresh).is_err());
        }
        assert!(path.join("thesis.txt").exists());

        std::fs::write(path.join(MARKER), "regions = 5\nnodes = 1\nengine = \"fjall\"\n").unwrap();
        let folder = Folder::open(&path, false).unwrap();
        assert!(Folder::open(&path, false).is_err(), "two at one time");
        assert_eq!(folder.settle(None, None, None).unwrap().regions, 5);
        assert_eq!(folder.settle(Some(2), Some(1), None).unwrap().engine, Engine::Fjall);
        assert!(folder.settle(None, None, Some(Engine::Sled)).is_err());
        assert!(folder.settle(None, Some(2), None).is_err());
        drop(folder);
        let folder = Folder::open(&path, true).unwrap();
        assert!(!path.join("thesis.txt").exists() && !path.join(MARKER).exists());
        assert_eq!(folder.settle(None, None, None).unwrap().regions, 3);
    }
}
