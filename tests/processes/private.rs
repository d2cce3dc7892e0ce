//! What other users of the machine, pages of other sites and a second start must not get at.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::common::{Call, Deployment, MERIDIAN, Up, Venue, holds};

/// Every file and folder below `folder` that other users may use, with its mode.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        // Files of a store may go while this looks at them.
        let Ok(metadata) = entry.metadata() else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            found.push(format!("{} {mode:o}", entry.path().display()));
        }
        if metadata.is_dir() {
            found.extend(open_to_others(&entry.path()));
        }
    }
    found
}

fn check(config: &Path) -> (Output, String) {
    let output = Command::new(MERIDIAN).args(["node", "--check", "--config"]).arg(config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn other_users_can_read_neither_data_nor_keys_and_a_second_start_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = Venue::make(up.node(0), "14d");
    venue.visit("Zoë", "+49 151 2345678").put().to(up.node(0)).expect(201);
    let open = open_to_others(&up.data);
    assert!(open.is_empty(), "{open:?}");

    // A second start of a running node fails and leaves the first one's id where scripts look for it.
    let pid = up.pid("us-east");
    let config = up.data.join("us-east").join("node.toml");
    let second = Command::new(MERIDIAN).args(["node", "--config"]).arg(&config).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert_eq!(up.pid("us-east"), pid);

    // A key that others could read is refused with what to do, also by a look at the configuration alone.
    let key = up.data.join("certs").join("us-east.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (refused, said) = check(&config);
    assert!(refused.status.code() == Some(2) && said.contains("us-east.key") && said.contains("chmod 600"), "{said}");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let console = up.data.join("console-key");
    std::fs::set_permissions(&console, Permissions::from_mode(0o604)).unwrap();
    let (refused, said) = check(&config);
    assert!(refused.status.code() == Some(2) && said.contains("registry.console_keys"), "{said}");
    std::fs::set_permissions(&console, Permissions::from_mode(0o600)).unwrap();
    assert!(check(&config).0.status.success());

    // Without operators an admin listener on all addresses would let every client of the network give orders.
    let written = std::fs::read_to_string(&config).unwrap();
    let admin = format!("admin = \"{}\"", up.at(1, 2, 2));
    let everywhere = written.replace(&admin, "admin = \"0.0.0.0:7082\"");
    assert_ne!(everywhere, written);
    let other = up.data.join("us-east").join("everywhere.toml");
    std::fs::write(&other, &everywhere).unwrap();
    assert!(check(&other).0.status.success(), "there are operators");
    let lines = everywhere.lines().filter(|line| !line.starts_with("operators = "));
    std::fs::write(&other, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let (refused, said) = check(&other);
    assert!(refused.status.code() == Some(2) && said.contains("listen.admin"), "{said}");

    // A page of another site, open in an operator's browser, gets nothing: by its own address, or by DNS rebinding.
    for at in [up.at(1, 1, 2), up.at(0, 1, 2)] {
        let look = || Call::new("GET", "/v1/admin/status");
        let foreign = look().header("Origin", "http://evil.example").header("Authorization", up.operator()).to(at);
        assert_eq!(foreign.problem(403)["type"], "urn:meridian:problem:foreign-origin");
        let rebound = look().header("Host", "evil.example:7082").to(at);
        assert_eq!(rebound.problem(421)["type"], "urn:meridian:problem:unknown-host");
        look().header("Host", "node-1.example.org").header("Authorization", up.operator()).to(at).expect(200);
        look().to(at).expect(200);
    }
    let order = Call::new("POST", "/v1/admin/serve").header("Origin", "null").header("Authorization", up.operator());
    order.to(up.at(1, 1, 2)).problem(403);
    up.stop();
}

/// A store that an earlier release left open to others is closed to them at the start.
#[test]
fn the_folder_of_the_data_is_closed_to_other_users_at_a_start() {
    let mut deployment = Deployment::start(1);
    let node = &mut deployment.nodes[0];
    let store = node.store();
    node.stop();
    std::fs::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
    node.start_again();
    assert_eq!(std::fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(node.log().contains("other users of this machine could read the folder of the data"), "{}", node.log());
}

/// Every file below `folder` that holds one of these texts.
fn files_with(folder: &Path, texts: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
        } else if let Ok(bytes) = std::fs::read(&path)
            && texts.iter().any(|text| memchr::memmem::find(&bytes, text).is_some())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// `node/tests/canary.rs` looks closer, on both engines and without sealing.
#[test]
fn a_guest_is_in_no_file_of_any_region_and_keys_are_destroyed_in_all() {
    let deployment = Deployment::start(2);
    let [here, there] = &deployment.nodes[..] else { panic!("two nodes") };
    let venue = Venue::make(here.public, "14d");
    deployment.wait_known(&venue);
    let (name, other) = ("Quetzalcoatlina Xylander", "Zephyrinus Quastenflosser");
    let (erased, kept) = (venue.visit(name, "+49 151 99887766"), venue.visit(other, "+49 151 2345678"));
    here.ask(&erased.put()).expect(201);
    here.ask(&kept.put()).expect(201);
    deployment.wait_complete(&venue);
    here.ask(&erased.erase()).expect(204);
    for node in [here, there] {
        holds("its key is destroyed", Duration::from_secs(60), || node.metric("meridian_erasures_total") == 1.0);
        let log = std::fs::read_to_string(node.store().join("keys/destroyed.jsonl")).unwrap();
        assert!(log.contains("\"documents\":1") && log.lines().count() == 1, "{log}");
        node.ask(&erased.get()).problem(410);
        assert_eq!(node.ask(&kept.get()).expect(200).json()["persons"][0]["name"], other);
    }
    let forms = |text: &str| {
        let text = text.as_bytes();
        vec![
            text.to_vec(),
            data_encoding::HEXLOWER.encode(text).into_bytes(),
            text.iter().flat_map(|b| [*b, 0]).collect(),
        ]
    };
    let texts: Vec<Vec<u8>> = [name, other, "99887766", "2345678"].into_iter().flat_map(forms).collect();
    assert_eq!(files_with(deployment.scratch(), &texts), Vec::<String>::new());
}
