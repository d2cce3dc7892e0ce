//! Operators: tokens, roles, and the audit trail that every region has.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Answer, Call, MERIDIAN, Up, holds};

const SOON: Duration = Duration::from_secs(30);

fn order(up: &Up, token: Option<&str>) -> Answer {
    let body = json!({"order": "drained", "by": "mk", "reason": "kernel update"});
    let call = Call::new("PUT", "/v1/admin/regions/us-east/order").json(&body);
    let call = match token {
        Some(token) => call.header("Authorization", format!("Bearer {token}")),
        None => call,
    };
    call.to(up.at(1, 1, 2))
}

fn command(up: &Up, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(MERIDIAN);
    command.args(arguments).arg("--data").arg(&up.data).env_remove("MERIDIAN_TOKEN").output().unwrap()
}

fn trail(up: &Up, region: u8) -> Vec<Value> {
    let answer = Call::new("GET", "/v1/admin/audit").to(up.at(1, region, 2)).expect(200).json();
    answer["entries"].as_array().unwrap().clone()
}

#[test]
fn an_order_needs_a_token_with_its_role_and_is_written_down_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    // On a machine of one's own everyone may look.
    for path in ["/metrics", "/v1/admin/status", "/v1/admin/audit", "/v1/admin/faults"] {
        Call::new("GET", path).to(up.at(1, 1, 2)).expect(200);
    }
    assert!(trail(&up, 1).is_empty());
    // Orders need a token, also those that would end something or state the time.
    for (method, path) in [
        ("PUT", "/v1/admin/regions/us-east/order"),
        ("POST", "/v1/admin/faults"),
        ("DELETE", "/v1/admin/faults"),
        ("DELETE", "/v1/admin/faults/1"),
        ("POST", "/v1/admin/drill"),
        ("DELETE", "/v1/admin/drill/x"),
        ("POST", "/v1/admin/clock/believe"),
        ("POST", "/v1/admin/serve"),
    ] {
        let answer = Call::new(method, path).to(up.at(1, 1, 2));
        assert!(answer.header("www-authenticate").is_some(), "{method} {path}");
        assert_eq!(answer.problem(401)["type"], "urn:meridian:problem:operator-token-missing", "{method} {path}");
    }
    assert_eq!(order(&up, Some("meridian_guess")).problem(401)["type"], "urn:meridian:problem:operator-token-wrong");
    // A file that changes is read again: a colleague who may only look.
    let file = up.data.join("operators.toml");
    let add = ["operator", "add", "ana", "--role", "view", "--file"];
    let added = Command::new(MERIDIAN).args(add).arg(&file).output().unwrap();
    let token = String::from_utf8(added.stdout).unwrap().trim().to_owned();
    assert!(added.status.success() && token.starts_with("meridian_"), "{token}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&token), "the file holds the hash alone");
    assert_eq!(order(&up, Some(&token)).problem(403)["type"], "urn:meridian:problem:operator-may-not");
    let twice = Command::new(MERIDIAN).args(add).arg(&file).output().unwrap();
    assert_eq!(twice.status.code(), Some(2));
    assert!(trail(&up, 1).is_empty(), "what is refused is no order");
    // Commands find the token by themselves.
    let drained =
        command(&up, &["region", "drain", "us-east", "--for", "5m", "--by", "mk", "--reason", "kernel update"]);
    assert!(drained.status.success(), "{drained:?}");
    // `--data` belongs to `begin`, not to the kind that follows it.
    let place =
        ["fault", "begin", "--data", up.data.to_str().unwrap(), "--node", "us-east", "--for", "5m", "--by", "mk"];
    let begun = Command::new(MERIDIAN).args(place).arg("unready").output().unwrap();
    assert!(begun.status.success(), "{begun:?}");
    for region in 1..=3 {
        holds("both orders are known in every region", SOON, || trail(&up, region).len() == 2);
        let entries = trail(&up, region);
        let first = &entries[0];
        assert_eq!((&first["who"], &first["why"]), (&"mk (up)".into(), &"kernel update".into()), "{first}");
        assert!(first["what"].as_str().unwrap().starts_with("order drained for us-east, until "), "{first}");
        assert!(first["from"].as_str().unwrap().starts_with("127.0."), "{first}");
        assert!(entries[1]["what"].as_str().unwrap().starts_with("fault unready for 5m"), "{entries:?}");
    }
    let shown = command(&up, &["audit"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("order drained for us-east") && shown.contains("mk (up)"), "{shown}");
    let other = command(&up, &["audit", "--month", "2026-01", "--json"]);
    assert!(String::from_utf8(other.stdout).unwrap().contains(r#""entries":[]"#));
    Call::new("GET", "/v1/admin/audit?month=2026-13").to(up.at(1, 1, 2)).problem(400);
    up.stop();
}
