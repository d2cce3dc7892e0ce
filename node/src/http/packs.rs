//! The policy packs of this node: the built-in ones, and those of the folder that its configuration names.
//!
//! # Invariants
//! - A pack of the folder replaces the built-in one with the same id.
//!
//! # Not here
//! The contents of a pack: [`registry::policy`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::RegistryConfig;
use registry::{PackError, PolicyPack};

/// All packs by id, and the one for new venues.
#[derive(Clone, Debug)]
pub struct Packs {
    default: Arc<PolicyPack>,
    all: BTreeMap<String, Arc<PolicyPack>>,
}

/// Why the packs cannot be used. The author of the configuration must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacksError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read policy packs from {}", path.display())]
    Read {
        /// Folder or file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not a valid pack.
    #[error("the policy pack {} is refused", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// Which key and why.
        #[source]
        source: PackError,
    },
    /// The configuration names a pack that does not exist.
    #[error("registry.policy = \"{id}\": there is no such pack; choose one of {known}")]
    Unknown {
        /// The id in the configuration.
        id: String,
        /// The ids that there are.
        known: String,
    },
}

impl Packs {
    /// Reads all packs that a configuration names.
    ///
    /// # Errors
    /// [`PacksError`].
    pub fn load(config: &RegistryConfig) -> Result<Packs, PacksError> {
        let mut all: Vec<PolicyPack> = PolicyPack::built_in_ids().filter_map(PolicyPack::built_in).collect();
        if let Some(folder) = &config.policies {
            all.extend(folder_packs(folder)?);
        }
        Packs::new(&config.policy, all)
    }

    /// These packs, with `default` for new venues. If an id occurs several times, its last pack counts.
    ///
    /// # Errors
    /// [`PacksError::Unknown`] if `default` is not among them.
    pub fn new(default: &str, packs: impl IntoIterator<Item = PolicyPack>) -> Result<Packs, PacksError> {
        let all: BTreeMap<_, _> = packs.into_iter().map(|pack| (pack.id.clone(), Arc::new(pack))).collect();
        match all.get(default) {
            Some(default) => Ok(Packs { default: default.clone(), all }),
            None => {
                let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
                Err(PacksError::Unknown { id: default.to_owned(), known })
            }
        }
    }

    /// The pack for new venues.
    #[must_use]
    pub(crate) fn default_pack(&self) -> &Arc<PolicyPack> {
        &self.default
    }

    /// The pack of a venue. A venue of another region may name a pack that this node does not have. Its guests are then
    /// asked for what this node's own pack asks, because refusing the check-in would protect nobody.
    #[must_use]
    pub fn of(&self, id: &str) -> &Arc<PolicyPack> {
        self.all.get(id).unwrap_or(&self.default)
    }
}

fn folder_packs(folder: &Path) -> Result<Vec<PolicyPack>, PacksError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| PacksError::Read { path, source }
    };
    let mut packs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read(folder))? {
        let path = entry.map_err(read(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).map_err(read(&path))?;
            packs.push(PolicyPack::from_toml(&text).map_err(|source| PacksError::Pack { path, source })?);
        }
    }
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use super::{Packs, PacksError};
    use crate::config::RegistryConfig;
    use registry::PolicyPack;

    fn config(policy: &str) -> RegistryConfig {
        RegistryConfig {
            policy: policy.to_owned(),
            policies: None,
            public_url: None,
            console_keys: Vec::new(),
            new_venues: crate::config::NewVenues::Open,
            unused_venues: None,
        }
    }

    #[test]
    fn built_in_packs_are_there_and_an_unknown_one_is_named() {
        let packs = Packs::load(&config("development")).expect("packs");
        assert_eq!(packs.default_pack().id, "development");
        assert_eq!(packs.of("de-bw").id, "de-bw");
        assert_eq!(packs.of("no-such-pack").id, "development");
        let error = Packs::load(&config("no-such-pack")).expect_err("refused");
        assert!(matches!(error, PacksError::Unknown { .. }) && error.to_string().contains("de-bw"));
    }

    #[test]
    fn the_last_of_an_id_counts() {
        let mut changed = PolicyPack::built_in("default").expect("a pack");
        changed.version = 99;
        let packs = Packs::new("default", [PolicyPack::built_in("default").expect("a pack"), changed]);
        assert_eq!(packs.expect("packs").default_pack().version, 99);
    }
}
