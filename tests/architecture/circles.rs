//! No module imports itself over its siblings, in any folder of any crate.
//!
//! A module is a file or a folder; its siblings are the other modules of the same folder. A part may name its parent,
//! and a parent its parts. Code of tests does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path from the root of its crate, such as `["http", "visits", "own"]`.
type ModulePath = Vec<String>;

/// The module that a file is.
fn module_of(file: &Path) -> ModulePath {
    let parts = file.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs").to_owned());
    parts.filter(|part| part != "lib" && part != "main").collect()
}

/// All paths in a file's code, such as `super::visits::own` (groups in braces are expanded).
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..start].chars().next_back();
        // `super::super::x` is read once, from its beginning.
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        expand(&code[start..], &mut Vec::new(), &mut found);
    }
    found
}

/// Reads one path, or a group of paths behind a common beginning. Returns the number of bytes read.
fn expand(text: &str, beginning: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let (mut at, depth) = (0, beginning.len());
    loop {
        let name: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += name.len();
        if !name.is_empty() {
            beginning.push(name);
        }
        if !text[at..].starts_with("::") {
            found.push(beginning.clone());
            break;
        }
        at += 2;
        if text[at..].starts_with('{') {
            at += 1;
            while !text[at..].starts_with('}') && at < text.len() {
                let skipped =
                    text[at..].find(|c: char| c.is_alphanumeric() || c == '_' || c == '}').unwrap_or(text.len() - at);
                at += skipped;
                if text[at..].starts_with('}') {
                    break;
                }
                at += expand(&text[at..], beginning, found);
            }
            break;
        }
    }
    beginning.truncate(depth);
    at
}

/// The path from the crate's root that `path` means in `module`.
fn absolute(path: &[String], module: &ModulePath) -> Option<ModulePath> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let rest = &path[supers.max(1)..];
    let base = if supers == 0 { &[][..] } else { module.get(..module.len().checked_sub(supers)?)? };
    Some([base, rest].concat())
}

/// The circles among siblings in a crate whose files are given with their paths from its `src`.
pub(crate) fn circles(files: &[(&Path, &str)]) -> Vec<String> {
    let modules: BTreeSet<ModulePath> = files.iter().map(|(file, _)| module_of(file)).collect();
    // For each folder, from each child to the siblings that it names.
    let mut arrows: BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (file, text) in files {
        let module = module_of(file);
        if module.iter().any(|part| part == "tests" || part == "testing") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = lines.flat_map(|line| [line, "\n"]).collect();
        for path in paths(&code) {
            let Some(named) = absolute(&path, &module) else { continue };
            let common = module.iter().zip(&named).take_while(|(own, other)| own == other).count();
            let (Some(own), Some(other)) = (module.get(common), named.get(common)) else { continue };
            if modules.contains(&named[..=common]) {
                let folder = arrows.entry(module[..common].to_vec()).or_default();
                folder.entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    let mut found = Vec::new();
    for (folder, children) in &arrows {
        for start in children.keys() {
            let mut waiting = vec![start];
            let mut reached: BTreeSet<&String> = BTreeSet::new();
            while let Some(module) = waiting.pop() {
                for next in children.get(module).into_iter().flatten() {
                    if next == start {
                        found.push(format!("{}: {start} imports itself over {module}", folder.join("/")));
                    } else if reached.insert(next) {
                        waiting.push(next);
                    }
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_circle_is_found_and_a_line_is_none() {
    let (a, b, c) = (Path::new("room/a.rs"), Path::new("room/b.rs"), Path::new("room/c/d.rs"));
    let (room, other) = (Path::new("room/c.rs"), Path::new("other.rs"));
    let files = |text: &'static str| {
        vec![(a, "use super::{b::B, x};\n"), (b, text), (c, "use crate::other;\n"), (room, ""), (other, "")]
    };
    assert_eq!(circles(&files("use crate::room::c::d::{D};\n")), Vec::<String>::new());
    assert_eq!(circles(&files("use crate::other::{self, Q};\nfn f() { super::a::go() }\n")).len(), 2);
    let over_three = [(a, "use super::b;"), (b, "use super::c::d::E;"), (c, "use super::super::a::A;"), (room, "")];
    assert_eq!(circles(&over_three).len(), 3);
}
