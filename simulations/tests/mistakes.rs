//! The patches of the deliberate mistakes apply to the present code. A patch that no longer applies proves nothing, and
//! would otherwise be noticed only at night, when all of them are run.
//!
//! # Not here
//! Whether a mistake builds and is caught: `replication/mistakes/run` and `simulations/mistakes/run`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 2] = ["replication/mistakes", "simulations/mistakes"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Name and text of each patch of a folder.
fn patches(folder: &str) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path());
    let patches = files.filter(|file| file.extension().is_some_and(|extension| extension == "patch"));
    let name = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
    patches.map(|file| (name(&file), std::fs::read_to_string(&file).unwrap())).collect()
}

/// How many lines a hunk says that it has, before and after.
fn counts(head: &str) -> Option<(usize, usize)> {
    let (before, after) = head.strip_prefix("@@ -")?.split_once(" +")?;
    let count = |range: &str| range.split_once(',')?.1.parse().ok();
    Some((count(before)?, count(after.split_once(" @@")?.0)?))
}

/// The lines of a hunk before and after; `None` if they are not as many as its head says.
fn hunk<'a>(head: &str, lines: &mut impl Iterator<Item = &'a str>) -> Option<(String, String)> {
    let (mut old, mut new) = counts(head)?;
    let (mut before, mut after) = ("\n".to_owned(), "\n".to_owned());
    while old + new > 0 {
        let line = lines.next()?;
        let (mark, text) = line.split_at_checked(1).unwrap_or((" ", ""));
        for (at, left, to) in [("-", &mut old, &mut before), ("+", &mut new, &mut after)] {
            if mark == at || mark == " " {
                *left = left.checked_sub(1)?;
                to.extend([text, "\n"]);
            }
        }
        if !["-", "+", " "].contains(&mark) {
            return None;
        }
    }
    Some((before, after))
}

/// Makes the mistake in memory, or says why it cannot be made. Each hunk must fit in exactly one place.
fn make(patch: &str) -> Result<(), String> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut file = None;
    let mut lines = patch.lines();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("+++ b/") {
            // One newline in front, so that each line of the file begins after one.
            let read = std::fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
            files.insert(path, format!("\n{read}"));
            file = Some(path);
        } else if line.starts_with("@@") {
            let (before, after) = hunk(line, &mut lines).ok_or(format!("malformed hunk {line}"))?;
            let text = file.and_then(|file| files.get_mut(file)).ok_or("a hunk of no file")?;
            match text.matches(&before).count() {
                1 => *text = text.replacen(&before, &after, 1),
                places => return Err(format!("{line} of {file:?} fits in {places} places")),
            }
        }
    }
    if files.is_empty() { Err("changes nothing".to_owned()) } else { Ok(()) }
}

#[test]
fn every_mistake_applies() {
    for folder in FOLDERS {
        let patches = patches(folder);
        assert!(patches.len() > 10, "{folder} has {}", patches.len());
        for (name, patch) in patches {
            assert_eq!(make(&patch), Ok(()), "{folder}/{name}.patch");
        }
    }
}

/// The mistakes that the swarms are to catch are those of the tables, and no others.
#[test]
fn the_tables_name_every_mistake() {
    let names = |folder: &str, by_rules: bool| -> BTreeSet<String> {
        let patches = patches(folder).into_iter();
        patches.filter(|(_, patch)| patch.contains("Caught by: rules") == by_rules).map(|(name, _)| name).collect()
    };
    let (replication, simulations) = FOLDERS.map(|folder| names(folder, false)).into();
    let readme = std::fs::read_to_string(root().join("simulations/README.md")).unwrap();
    let (_, tables) = readme.split_once("## Deliberate mistakes").unwrap();
    let (tables, _) = tables.split_once("\n## ").unwrap();
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let named: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(named, &replication | &simulations, "the tables of simulations/README.md");

    let readme = std::fs::read_to_string(root().join("replication/README.md")).unwrap();
    let (_, part) = readme.split_once("## Deliberate mistakes").unwrap();
    let part = part.split_once("\n## ").unwrap().0;
    let (table, by_rules) = part.split_once("Caught by: rules").unwrap();
    for (text, names) in [(table, replication), (by_rules, names(FOLDERS[0], true))] {
        for name in names {
            assert!(text.contains(&format!("`{name}`")), "replication/README.md does not name {name} where it belongs");
        }
    }
}
