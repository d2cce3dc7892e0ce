//! Regions join, move and leave while a deployment runs.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Call, Deployment, MERIDIAN, Node, Up, Venue, holds, net, within};

const SOON: Duration = Duration::from_secs(90);

/// An address in Brazil, as in the shipped location database.
const BRAZIL: &str = "200.147.3.157";

fn change(method: &str, node: &str, body: &Value) -> Call {
    Call::new(method, format!("/v1/admin/members/{node}")).json(body)
}

fn membership(deployment: &Deployment, node: usize) -> Value {
    let node = &deployment.nodes[node];
    json!({
        "region": node.region, "replication": node.replication.to_string(), "public": node.public.to_string(),
        "position": {"latitude": 1.0, "longitude": 2.0}, "by": "mk", "reason": "growth"
    })
}

fn names(status: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        status["peers"].as_array().unwrap().iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_node_that_knows_one_other_joins_moves_and_leaves() {
    let mut deployment = Deployment::start(2);
    let venue = Venue::make(deployment.nodes[0].public, "14d");
    deployment.wait_known(&venue);
    let check_in = |at| venue.visit("Zoë", "+49 151 2345678").put().to(at).expect(201);
    for _ in 0..20 {
        check_in(deployment.nodes[1].public);
    }
    // Before it is a member, its certificate alone opens no link.
    let joined = deployment.join(0);
    holds("it is refused", SOON, || deployment.nodes[0].log().contains("is not a member of this deployment"));
    assert!(names(&deployment.nodes[0].status()).len() == 1);

    // Any live node takes the order.
    let order = change("PUT", deployment.nodes[joined].region, &membership(&deployment, joined));
    order.to(deployment.nodes[1].admin).expect(200);
    deployment.nodes[joined].wait_ready();
    deployment.wait_linked();
    deployment.wait_complete(&venue);
    assert_eq!(venue.list(deployment.nodes[joined].public).len(), 20);
    check_in(deployment.nodes[joined].public);
    holds("its check-in is everywhere", SOON, || venue.list(deployment.nodes[1].public).len() == 21);
    let public = Call::new("GET", "/v1/cluster").to(deployment.nodes[0].public).expect(200).json();
    let shown = &public["members"][0];
    assert_eq!(
        (&shown["membership"], &shown["public"]),
        (&"member".into(), &deployment.nodes[joined].public.to_string().into())
    );
    assert!(
        shown.get("replication").is_none() && shown.get("by").is_none() && shown.get("reason").is_none(),
        "{shown}"
    );

    // It moves to another port: the others find it there.
    let elsewhere = net::free(deployment.nodes[joined].public.ip(), 1)[0];
    deployment.nodes[joined].stop();
    deployment.nodes[joined].move_to(elsewhere);
    let order = change("PUT", deployment.nodes[joined].region, &membership(&deployment, joined));
    order.to(deployment.nodes[0].admin).expect(200);
    deployment.nodes[joined].start_again();
    deployment.wait_linked();

    // It leaves. Clients are still sent to it, so it must be drained first.
    let region = deployment.nodes[joined].region;
    let is_measured = |node: &Node| {
        let metrics = Call::new("GET", "/metrics").to(node.admin).expect(200);
        metrics.text().lines().any(|line| line.starts_with("meridian_replication_lag") && line.contains(region))
    };
    assert!(is_measured(&deployment.nodes[0]));
    let removal = json!({"by": "mk", "reason": "closed"});
    let refused = change("DELETE", region, &removal).to(deployment.nodes[0].admin).problem(409);
    assert_eq!(refused["type"], "urn:meridian:problem:region-serves", "{refused}");
    let itself = change("DELETE", region, &json!({"by": "mk", "force": true})).to(deployment.nodes[joined].admin);
    assert_eq!(itself.problem(422)["type"], "urn:meridian:problem:invalid");
    let drain = json!({"order": "drained", "by": "mk"});
    let order = Call::new("PUT", format!("/v1/admin/regions/{region}/order")).json(&drain);
    order.to(deployment.nodes[1].admin).expect(200);
    holds("the order is known", SOON, || {
        change("DELETE", region, &removal).to(deployment.nodes[0].admin).status == 200
    });
    for node in 0..2 {
        let node = &deployment.nodes[node];
        holds("nothing mentions it", SOON, || {
            let status = node.status();
            names(&status).len() == 1 && status["complete_through"].get(region).is_none() && !is_measured(node)
        });
        node.wait_ready();
    }
    assert_eq!(venue.list(deployment.nodes[0].public).len(), 21, "its check-ins stay until they expire");
    // It has heard of it, also after a restart, and takes no client any more.
    let is_gone = |deployment: &Deployment| {
        let answer = Call::new("GET", &venue.path).send(deployment.nodes[joined].public);
        answer.is_ok_and(|answer| answer.status == 503 && answer.text().contains("urn:meridian:problem:removed"))
    };
    holds("it takes no clients", SOON, || is_gone(&deployment));
    deployment.nodes[joined].stop();
    deployment.nodes[joined].restart();
    holds("it still takes none", SOON, || is_gone(&deployment));
    // It is added again, and comes back with all that it missed.
    check_in(deployment.nodes[0].public);
    let order = change("PUT", region, &membership(&deployment, joined));
    order.to(deployment.nodes[0].admin).expect(200);
    deployment.nodes[joined].wait_ready();
    deployment.wait_linked();
    deployment.wait_complete(&venue);
    assert_eq!(venue.list(deployment.nodes[joined].public).len(), 22);
}

/// A node dials peers with larger names and is dialled by those with smaller ones, so the first and the last name are tried.
#[test]
fn a_node_that_was_removed_while_it_was_cut_off_hears_of_it_when_it_is_back() {
    let mut deployment = Deployment::disturbed(4);
    let (largest, smallest) = (1, 2);
    let venue = Venue::make(deployment.nodes[0].public, "14d");
    deployment.wait_known(&venue);
    let fault = json!({"act": {"kind": "partition"}, "for": "10m", "by": "mk", "reason": "a drill"});
    for away in [largest, smallest] {
        Call::new("POST", "/v1/admin/faults").json(&fault).to(deployment.nodes[away].admin).expect(201);
        holds("it is cut off", SOON, || deployment.nodes[away].linked().is_empty());
        let removal = json!({"by": "mk", "reason": "burnt down", "force": true});
        change("DELETE", deployment.nodes[away].region, &removal).to(deployment.nodes[0].admin).expect(200);
    }
    let is_gone = |deployment: &Deployment, node: usize| {
        let answer = Call::new("GET", &venue.path).send(deployment.nodes[node].public);
        answer.is_ok_and(|answer| answer.status == 503 && answer.text().contains("urn:meridian:problem:removed"))
    };
    // Otherwise one that is back could link to a node that still takes it for a member, and hear of its removal by the link.
    let know = |deployment: &Deployment| {
        for stays in [0, 3] {
            holds("nothing mentions them", SOON, || names(&deployment.nodes[stays].status()).len() == 1);
        }
    };
    know(&deployment);
    let visit = venue.visit("Zoë", "+49 151 2345678");
    for away in [largest, smallest] {
        visit.put().to(deployment.nodes[away].public);
        assert!(!is_gone(&deployment, away), "it cannot know yet");
        Call::new("DELETE", "/v1/admin/faults").to(deployment.nodes[away].admin).expect(200);
    }
    for away in [largest, smallest] {
        holds("it takes no clients", SOON, || is_gone(&deployment, away));
        assert!(deployment.nodes[away].log().contains("a peer says that this node was removed while it was away"));
    }
    know(&deployment);
    for stays in [0, 3] {
        assert!(!is_gone(&deployment, stays), "it was not removed");
    }
    // What it heard lies in its store. Added again, it brings what it took in the meantime.
    deployment.nodes[smallest].stop();
    deployment.nodes[smallest].restart();
    holds("it still takes no clients", SOON, || is_gone(&deployment, smallest));
    let order = change("PUT", deployment.nodes[smallest].region, &membership(&deployment, smallest));
    order.to(deployment.nodes[3].admin).expect(200);
    holds("its check-in is there", SOON, || venue.list(deployment.nodes[0].public).len() == 1);
    holds("it takes clients", SOON, || !is_gone(&deployment, smallest));
}

fn command(up: &Up, arguments: &[&str]) -> Output {
    let mut command = Command::new(MERIDIAN);
    command.args(arguments).arg("--data").arg(&up.data).env_remove("MERIDIAN_TOKEN").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Sets a flag when it is dropped.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a client in Brazil is sent to the region that was added. It takes its share step by step.
fn goes_to_sa_east(up: &Up) -> bool {
    (0..64).any(|network| up.answered(&format!("200.147.{network}.1")) == "sa-east")
}

/// The regions by their distance from Brazil change twice, and no check-in through the edge fails.
#[test]
fn a_deployment_of_up_grows_and_shrinks_under_check_ins() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = Venue::make(up.node(0), "14d");
    for region in 0..3 {
        holds("the venue is known", SOON, || Call::new("GET", &venue.path).to(up.node(region)).status == 200);
    }
    assert_eq!(up.answered(BRAZIL), "us-east");
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let guests = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let call = venue.visit("Zoë", "+49 151 2345678").put().header("X-Forwarded-For", BRAZIL);
                let answer = call.to(up.edge());
                // The edge may have sent it twice.
                assert!([200, 201].contains(&answer.status), "{}: {}", answer.status, answer.text());
                sent += 1;
                // As many as one page of a guest list holds.
                std::thread::sleep(Duration::from_millis(100));
            }
            sent
        });
        // Also after a failed assertion, otherwise the scope would wait for the guests for ever.
        let ended = SetOnDrop(&stop);
        let added = command(&up, &["region", "add", "sa-east", "--by", "mk"]);
        assert!(added.status.success(), "{}", text(&added));
        assert!(text(&added).contains("holds everything that the other regions have"), "{}", text(&added));
        let twice = command(&up, &["region", "add", "sa-east"]);
        assert_eq!(twice.status.code(), Some(2), "{}", text(&twice));
        holds("clients in Brazil are sent there", Duration::from_secs(90), || goes_to_sa_east(&up));

        let early = command(&up, &["region", "remove", "us-east"]);
        assert!(!early.status.success() && text(&early).contains("drain it first"), "{}", text(&early));
        let drained = command(&up, &["region", "drain", "us-east", "--force"]);
        assert!(drained.status.success(), "{}", text(&drained));
        let removed = command(&up, &["region", "remove", "us-east", "--reason", "too small"]);
        assert!(removed.status.success(), "{}", text(&removed));
        drop(ended);
        guests.join().unwrap()
    });
    assert!(sent > 20, "{sent} check-ins");
    let known = |up: &Up, region: u8| Call::new("GET", "/v1/admin/status").to(up.at(1, region, 2)).expect(200).json();
    for region in [1, 3, 4] {
        within("nothing mentions it", SOON, || {
            let status = known(&up, region);
            if names(&status).iter().any(|name| name == "us-east") { Err(status) } else { Ok(()) }
        });
        holds("every check-in is there", SOON, || venue.list(up.at(1, region, 0)).len() == sent);
    }
    let trail = command(&up, &["audit"]);
    assert!(text(&trail).contains("node sa-east of sa-east is a member") && text(&trail).contains("too small"));
    within("the router has forgotten it", SOON, || {
        let router = Call::new("GET", "/v1/admin/status").to(up.at(0, 1, 2)).expect(200).json();
        let regions: Vec<&str> =
            router["regions"].as_array().unwrap().iter().map(|region| region["region"].as_str().unwrap()).collect();
        if regions == ["eu-central", "ap-southeast", "sa-east"] { Ok(()) } else { Err(format!("{regions:?}")) }
    });
    holds("its process has ended", SOON, || !up.data.join("us-east").join("pid").exists());

    // The next start has the same regions, at other ports.
    let data = up.data.clone();
    up.stop();
    let up = Up::resume(&data, Up::free_port());
    holds("the added region is linked", SOON, || {
        let status = known(&up, 4);
        names(&status) == ["ap-southeast", "eu-central"]
            && status["peers"].as_array().unwrap().iter().all(|peer| peer["connected"] == true)
    });
    assert_eq!(venue.list(up.at(1, 4, 0)).len(), sent);
    holds("clients in Brazil are sent there", SOON, || goes_to_sa_east(&up));
    up.stop();
}
