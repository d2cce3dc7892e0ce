//! The folder of a deployment: made, recognised, locked, filled, and deleted only if `up` made it.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::operators::Role;
use node::config::Engine;
use service::authority::CertificateAuthority;
use service::operators::{OperatorEntry, OperatorsFile, new_token};

use super::layout::{Layout, Process};
use super::settings::Settings;
use crate::args::Usage;
use crate::support::deployment;

/// The file by which `up` recognises its own folders; it holds the [`Settings`].
pub(super) const MARKER: &str = "meridian-up.toml";

/// A deployment's folder, locked as long as this value lives.
pub(super) struct Folder {
    path: PathBuf,
    made_with: Option<Settings>,
    _lock: File,
}

impl Folder {
    /// Opens or makes a folder; `fresh` empties it first.
    pub(super) fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let ours = path.join(MARKER).is_file();
        let empty = match path.read_dir() {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(error).with_context(|| format!("cannot use {}", path.display())),
        };
        if !ours && !empty {
            return Err(Usage::error(format!(
                "{} holds something that `meridian up` did not make, and it is left alone: choose another folder with \
                 --data",
                path.display()
            )));
        }
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
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

    /// Its absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The settings: the given ones, otherwise those of the folder, otherwise the defaults. A change that the data does
    /// not allow is refused.
    pub(super) fn settle(
        &self,
        regions: Option<u8>,
        nodes: Option<u8>,
        routers: Option<u8>,
        engine: Option<Engine>,
    ) -> anyhow::Result<Settings> {
        let Some(made) = self.made_with.clone() else {
            let (regions, nodes, routers) = (regions.unwrap_or(3), nodes.unwrap_or(1), routers.unwrap_or(1));
            let engine = engine.unwrap_or_default();
            return Ok(Settings { regions, nodes, routers, engine, removed: Vec::new() });
        };
        let fixed = |what: &str, asked: String, made: String| {
            Usage::error(format!(
                "{} was made with {what} {made}, which cannot become {asked}: leave the option out, begin anew with \
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
        // An additional region begins empty and catches up. A region that is left out keeps its folder until it is used
        // again.
        let (regions, routers) = (regions.unwrap_or(made.regions), routers.unwrap_or(made.routers));
        let settings = Settings { regions, routers, ..made };
        if settings.is_empty() {
            return Err(Usage::error(format!(
                "with --regions {regions} no region is left, because those were removed"
            )));
        }
        Ok(settings)
    }

    /// Writes certificates and configuration; certificates that are still good stay.
    pub(super) fn write(&self, layout: &Layout, settings: &Settings) -> anyhow::Result<()> {
        // The marker comes first, because a folder that is only half filled must still be recognised as ours.
        std::fs::write(self.path.join(MARKER), toml::to_string(settings)?)?;
        let authority = CertificateAuthority::load_or_create(&layout.certs())?;
        for node in &layout.nodes {
            authority.issue(&node.process.name, false)?;
            write_config(&node.process, toml::to_string(&layout.file(node))?)?;
        }
        keep_key(&layout.console_key())?;
        keep_operator(layout)?;
        if !layout.routers.is_empty() {
            keep_key(&layout.router_key())?;
        }
        for router in &layout.routers {
            write_config(&router.process, toml::to_string(&layout.router_file(router)?)?)?;
        }
        // The configuration of a region that is now left out is removed, otherwise `status` would ask for it and report
        // it missing.
        for entry in self.path.read_dir()?.flatten() {
            for config in ["node.toml", "router.toml"].map(|name| entry.path().join(name)) {
                if config.is_file() && !layout.processes().any(|process| process.config() == config) {
                    std::fs::remove_file(config)?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn write_config(process: &Process, text: String) -> anyhow::Result<()> {
    std::fs::create_dir_all(&process.folder).with_context(|| format!("cannot make {}", process.folder.display()))?;
    let role = process.role;
    let text = format!(
        "# Written by `meridian up` at each start: changes are lost. config/{role}.toml explains the keys.\n\n{text}"
    );
    std::fs::write(process.config(), text).with_context(|| format!("cannot write {}", process.config().display()))?;
    // What a drill of an earlier run has left is over: all processes start now.
    match std::fs::remove_file(process.return_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", process.return_file().display()))
        }
        _ => Ok(()),
    }
}

/// Makes an operator with a token unless there is one; other operators of the file stay. A client without a token may
/// look, as on a machine of one's own.
fn keep_operator(layout: &Layout) -> anyhow::Result<()> {
    const NAME: &str = "up";
    let (file, token_file) = (layout.operators(), deployment::token_file(&layout.data));
    let mut operators = match file.is_file() {
        true => OperatorsFile::load(&file)?,
        false => OperatorsFile { anonymous: Some(Role::View), operators: Vec::new() },
    };
    if token_file.is_file() && operators.operators.iter().any(|one| one.name == NAME) {
        return Ok(());
    }
    let (token, token_sha256) = new_token();
    operators.operators.retain(|one| one.name != NAME);
    operators.operators.push(OperatorEntry { name: NAME.to_owned(), role: Role::Operate, token_sha256 });
    // A file that exists would keep its mode.
    match std::fs::remove_file(&token_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&token_file);
    made.and_then(|mut made| writeln!(made, "{token}"))
        .with_context(|| format!("cannot write {}", token_file.display()))?;
    operators.save(&file)?;
    Ok(())
}

/// Makes a common secret unless it exists, readable by no other user of this machine.
fn keep_key(file: &Path) -> anyhow::Result<()> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(mut made) => {
            let secret: [u8; 32] = rand::random();
            let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(made, "{text}").with_context(|| format!("cannot write {}", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
    }
}

/// Prevents a second `up` in the same folder. The system releases the lock when the process ends, however it ends.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Usage::error(format!(
            "another `meridian up` runs in {}: stop it, or use another --data",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Deletes the contents of a folder, the marker last, so that the folder is still recognised if this is interrupted.
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
        removed.with_context(|| format!("cannot delete {}", file.display()))?;
    }
    std::fs::remove_file(&marker).with_context(|| format!("cannot delete {}", marker.display()))
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
        assert_eq!(folder.settle(None, None, None, None).unwrap().regions, 5);
        assert_eq!(folder.settle(Some(2), Some(1), Some(3), None).unwrap().engine, Engine::Fjall);
        assert!(folder.settle(None, None, None, Some(Engine::Sled)).is_err());
        assert!(folder.settle(None, Some(2), None, None).is_err());
        drop(folder);
        let folder = Folder::open(&path, true).unwrap();
        assert!(!path.join("thesis.txt").exists() && !path.join(MARKER).exists());
        assert_eq!(folder.settle(None, None, None, None).unwrap().regions, 3);
    }
}
