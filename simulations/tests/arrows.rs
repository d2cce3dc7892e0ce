//! What the parts of the simulator may know of each other. That no module imports itself is tested for all crates in the
//! root package (`tests/architecture`).

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The modules that each module names after `crate::`.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&src) {
        let first = file.strip_prefix(&src).unwrap().iter().next().unwrap().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let imports = arrows.entry(module.clone()).or_default();
        for line in code {
            assert!(!line.contains("crate::{"), "{}: one `use` for each module: {line}", file.display());
            for (place, _) in line.match_indices("crate::") {
                let rest = &line[place + "crate::".len()..];
                let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if name != module && !name.is_empty() {
                    imports.insert(name);
                }
            }
        }
    }
    arrows
}

/// A scenario and the model can be read without the world, and what happened without the world that it happened in.
#[test]
fn what_is_written_and_recorded_does_not_know_the_world() {
    let arrows = arrows();
    for (module, banned) in [
        ("scenario", &["world", "plan", "history", "model"][..]),
        ("plan", &["world", "history", "model"]),
        ("history", &["world", "model"]),
        ("model", &["world", "history"]),
        ("invariant", &["world", "model", "history"]),
    ] {
        for name in banned {
            assert!(!arrows[module].contains(*name), "{module} imports {name}");
        }
    }
    for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let in_world =
            file.components().any(|part| Path::new(part.as_os_str()).file_stem().is_some_and(|stem| stem == "world"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(in_world || !text.contains("impl World "), "{} adds methods to World", file.display());
    }
}

/// A check is a function of the world as it is: it cannot change what it judges.
#[test]
fn checks_do_not_change_the_world() {
    for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/world/check")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for banned in ["&mut World", "&mut self", "impl World"] {
            assert!(!text.contains(banned), "{} has `{banned}`", file.display());
        }
    }
}
