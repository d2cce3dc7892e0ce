//! The structure of the workspace: the direction of dependencies, which code may name what, how files begin, how long
//! they are, and that the product reads every file in `config/`.

#![allow(clippy::unwrap_used)]

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use geo_router::config::RouterConfig;
use geo_router::location::{Country, Database};
use node::config::NodeConfig;
use registry::PolicyPack;

/// The largest number of lines of a file.
const LONGEST: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The whole dependency graph as locked; everything in it was fetched to build this test.
fn metadata() -> Metadata {
    let rustc = std::process::Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let options = ["--offline", "--locked", "--filter-platform", host].map(str::to_owned);
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).other_options(options).exec().unwrap()
}

/// The names of all packages that a package is built with, directly or not, without build and test dependencies.
fn built_with(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata.workspace_packages().into_iter().find(|one| one.name.as_str() == package);
    let mut waiting = vec![&start.unwrap_or_else(|| panic!("there is no {package}")).id];
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        for dependency in &nodes[id].deps {
            if dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
                && found.insert(metadata[&dependency.pkg].name.to_string())
            {
                waiting.push(&dependency.pkg);
            }
        }
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let of = |package: &str| built_with(&metadata, package);
    // The core has no I/O: no engine, no runtime, no socket, and no other crate of this workspace.
    let core = of("replication");
    assert!(core.contains("automerge"), "the graph is the right one");
    for banned in ["tokio", "mio", "smol", "hyper", "rustls", "socket2", "nix", "sled", "fjall", "jiff", "chrono"] {
        assert!(!core.contains(banned), "replication is built with {banned}");
    }
    for banned in ["node", "geo-router", "simulations", "meridian"] {
        assert!(!core.contains(banned), "replication is built with {banned}");
    }
    // What a package names in its own manifest. automerge brings randomness and logs of its own, and `api` a client; the
    // core and the registry must not use any of them.
    for (package, never) in [
        ("replication", vec!["rand", "getrandom", "uuid", "tracing", "log"]),
        ("geo-router", vec!["replication", "registry"]),
        ("registry", vec!["rand", "getrandom", "tracing", "log", "tokio", "hyper", "rustls"]),
    ] {
        let package = metadata.workspace_packages().into_iter().find(|one| one.name.as_str() == package).unwrap();
        for dependency in package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal) {
            assert!(!never.contains(&dependency.name.as_str()), "{} depends on {}", package.name, dependency.name);
        }
    }
    for (package, never) in [
        ("api", vec!["registry", "service", "node", "geo-router", "simulations", "meridian", "sled"]),
        ("registry", vec!["service", "node", "geo-router", "simulations", "meridian", "sled"]),
        ("service", vec!["registry", "node", "geo-router", "simulations", "meridian", "sled"]),
        ("node", vec!["geo-router", "simulations", "meridian"]),
        ("geo-router", vec!["registry", "node", "simulations", "meridian", "sled"]),
        ("simulations", vec!["node", "meridian", "sled"]),
    ] {
        let built_with = of(package);
        for never in never {
            assert!(!built_with.contains(never), "{package} is built with {never}");
        }
    }
    let all = of("meridian");
    assert!(all.contains("node") && all.contains("replication"), "the root package sees all that it runs");
}

/// Every source file of the workspace, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                // Files that cargo builds or git keeps are not sources.
                if !name.starts_with('.') && !name.starts_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 100, "{} files", found.len());
    found
}

#[test]
fn files_say_what_they_are_and_are_short() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with what it is (//!)", path.display()));
        }
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{} has {lines} lines, more than {LONGEST}", path.display()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The words of a source file, without comments.
fn words(text: &str) -> BTreeSet<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).collect()
}

/// Whether a file refers to a crate by path.
fn names(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.any(|line| {
        line.match_indices(&path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
        })
    })
}

#[test]
fn each_part_names_only_what_it_may() {
    let banned: [(&str, &[&str]); 8] = [
        // The meaning of a guest list is independent of its transport and storage.
        (
            "registry/src",
            &["client", "hyper", "hyper_util", "http_body_util", "tokio", "sled", "fjall", "rustls", "http"],
        ),
        ("node/src/http", &["sled", "fjall", "rustls", "tokio_rustls"]),
        ("node/src/peer", &["sled", "fjall", "hyper"]),
        // A scenario and a seed determine everything.
        ("simulations/src", &["tokio", "SystemTime", "Instant", "hyper", "HashMap", "HashSet"]),
        // Decisions get everything that they need as arguments, so they can be tested without waiting.
        ("geo-router/src/health", &["tokio", "SystemTime", "Instant", "thread", "hyper", "fs"]),
        ("geo-router/src/policy", &["tokio", "SystemTime", "Instant", "thread", "hyper", "fs", "rand"]),
        ("geo-router/src/location", &["tokio", "SystemTime", "Instant", "thread", "hyper", "rand"]),
        (
            "replication/src",
            &["tokio", "sled", "fjall", "hyper", "SystemTime", "Instant", "thread", "HashMap", "HashSet"],
        ),
    ];
    let sources = sources();
    for (folder, never) in banned {
        let files: Vec<_> = sources.iter().filter(|(path, _)| path.starts_with(folder)).collect();
        assert!(files.len() > 2, "{folder} is where it was");
        for (path, text) in files {
            let words = words(text);
            for word in never {
                assert!(!words.contains(word), "{} names {word}", path.display());
            }
        }
    }
    for engine in ["sled", "fjall"] {
        let home = PathBuf::from(format!("node/src/storage/{engine}.rs"));
        let by_path: Vec<&PathBuf> = sources
            .iter()
            .filter(|(path, text)| path.iter().any(|part| part == "src") && names(text, engine))
            .map(|(path, _)| path)
            // This file names the two modules, which have the names of their engines.
            .filter(|path| **path != Path::new("node/src/storage.rs"))
            .collect();
        assert_eq!(by_path, [&home], "files that name {engine}");
    }
}

#[test]
fn no_module_imports_itself() {
    let sources = sources();
    let mut wrong = Vec::new();
    for src in [
        "api/src",
        "registry/src",
        "replication/src",
        "service/src",
        "node/src",
        "geo-router/src",
        "simulations/src",
        "src",
    ] {
        let files = sources.iter().filter_map(|(path, text)| Some((path.strip_prefix(src).ok()?, text.as_str())));
        let files: Vec<_> = files.collect();
        assert!(files.len() > 4, "{src} is where it was");
        wrong.extend(circles::circles(&files).into_iter().map(|circle| format!("{src}/{circle}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_file_in_config_loads() {
    let mut loaded = 0;
    for file in files(&root().join("config")) {
        let name = file.strip_prefix(root().join("config")).unwrap().to_str().unwrap().to_owned();
        let text = || std::fs::read_to_string(&file).unwrap();
        match name.as_str() {
            "node.toml" => {
                NodeConfig::load(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
                refuses_unknown_keys(&name, &text(), |text| {
                    toml::from_str::<node::config::NodeFile>(text).map(drop).map_err(|error| error.to_string())
                });
            }
            "router.toml" => {
                // Its own tests put a bogus key into every table.
                RouterConfig::load(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            "geo/dbip-country.mmdb" => {
                let database = Database::open(&file).unwrap();
                let address = "46.4.0.1".parse().unwrap();
                assert_eq!(database.locate(address), Database::shipped().unwrap().locate(address));
            }
            "geo/countries.csv" => assert!(Country::new("DE").unwrap().position().is_some()),
            // The command's own test loads each of them and puts a bogus key into every table.
            drill if drill.starts_with("drills/") && drill.ends_with(".toml") => {}
            // For people, so there is nothing to load.
            "geo/README.md" => {}
            policy if policy.starts_with("policies/") && policy.ends_with(".toml") => {
                let pack = PolicyPack::from_toml(&text()).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(name, format!("policies/{}.toml", pack.id), "a pack is named as its file");
                refuses_unknown_keys(&name, &text(), |text| {
                    PolicyPack::from_toml(text).map(drop).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
                });
            }
            other => panic!("config/{other}: add here how it is loaded, otherwise it will get out of date"),
        }
        loaded += 1;
    }
    assert!(loaded >= 7, "{loaded}");
}

/// Every table of a file refuses an unknown key and names it.
fn refuses_unknown_keys(name: &str, text: &str, load: impl Fn(&str) -> Result<(), String>) {
    let file = toml::Value::Table(text.parse().unwrap());
    let mut paths = Vec::new();
    tables(&file, &mut Vec::new(), &mut paths);
    for path in paths {
        // Languages and countries are keys that the product does not list.
        if path.last().is_some_and(|key| key == "notice" || key == "postal_code_digits") {
            continue;
        }
        let mut bogus = file.clone();
        let table = path.iter().fold(&mut bogus, |value, key| match value {
            toml::Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
            other => &mut other[key.as_str()],
        });
        table.as_table_mut().unwrap().insert("meridiam".to_owned(), 1.into());
        let error = load(&toml::to_string(&bogus).unwrap()).expect_err(&format!("{name}: {path:?} took a bogus key"));
        assert!(error.contains("meridiam"), "{name}: {path:?}: {error}");
    }
}

/// The paths of all tables.
fn tables(value: &toml::Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &toml::Value)> = match value {
        toml::Value::Table(table) => {
            found.push(path.clone());
            table.iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        toml::Value::Array(items) => items.iter().enumerate().map(|(i, item)| (i.to_string(), item)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        path.push(key);
        tables(child, path, found);
        path.pop();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
