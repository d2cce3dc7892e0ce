//! The walk of the README: `meridian up`, guests in two regions, a concurrent correction, an erasure in the third
//! region, a venue whose visits expire within seconds, and the same data after a restart.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use crate::common::guest::{List, conflicts, now, phone};
use crate::common::process::exists;
use crate::common::up::REGIONS;
use crate::common::{Call, MERIDIAN, Up, Venue, Visit, client, holds, within};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use replication::Wall;
use serde_json::{Value, json};

/// Time limit of steps for which the README says a second, on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// How long a whole deployment may take to be ready, or to stop.
const MINUTE: Duration = Duration::from_secs(60);

impl Up {
    fn pids(&self) -> [Pid; 3] {
        REGIONS.map(|region| {
            let text = std::fs::read_to_string(self.data.join(region).join("pid")).unwrap();
            Pid::from_raw(text.trim().parse().unwrap())
        })
    }

    /// Stops `up` with SIGTERM. Returns how long it took until `up` and all its nodes had ended.
    fn stop_all(mut self) -> Duration {
        let pids = self.pids();
        assert!(pids.iter().all(|pid| exists(*pid)));
        self.process.signal(Signal::SIGTERM);
        let (status, took) = self.process.ended(MINUTE);
        assert!(status.success(), "{status}");
        for (pid, region) in pids.into_iter().zip(REGIONS) {
            assert!(!exists(pid), "{region} outlived `up`");
            assert!(!self.data.join(region).join("pid").exists(), "{region} left its pid file");
        }
        took
    }

    /// Waits until every region's list is as wanted.
    #[track_caller]
    fn agree(&self, venue: &Venue, what: &str, wanted: impl Fn(&List) -> bool) {
        for at in self.public {
            within(what, SOON, || {
                let list = venue.list(at);
                if wanted(&list) { Ok(()) } else { Err((at, list)) }
            });
        }
    }
}

/// The steps of the README in their order; each begins where the previous one ended.
#[test]
fn the_readmes_walk() {
    let folder = tempfile::tempdir().unwrap();
    let (data, port) = (folder.path().join("data"), Up::free_port());
    let up = Up::start_at(&data, 0, port);
    let [eu, us, _] = up.public;
    if us.ip() != eu.ip() {
        assert_eq!(us, SocketAddr::from(([127, 0, 1, 2], port)), "as documented");
    }
    let venue = Venue::make(eu, "14d");
    holds("the venue is known in all regions", SOON, || {
        up.public.iter().all(|at| Call::new("GET", &venue.path).to(*at).status == 200)
    });
    let zoe = check_in_at_two(&up, &venue);
    repeats(&up, &venue, &zoe);
    cut_off(&up, &venue);
    concurrent_corrections(&up, &venue);
    erase(&up, &venue, &zoe);
    status(&data);
    load_follows_check_ins(&up);

    let before = venue.list(eu);
    assert!(before.len() > 10);
    let took = up.stop_all();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let up = Up::start_at(&data, 0, port);
    up.agree(&venue, "the same data after a restart", |list| *list == before);
    assert_eq!(zoe.get().to(up.public[2]).status, 410, "what was erased stays erased");
    up.stop_all();
}

fn check_in_at_two(up: &Up, venue: &Venue) -> Visit {
    let [eu, us, ap] = up.public;
    let zoe =
        venue.visit_at(now(), json!({"area": "Bar", "persons": [{"name": "Zoë Nguyễn", "phone": "+49 151 2345678"}]}));
    let receipt = zoe.check_in(us).json();
    assert_eq!((receipt["visit_id"].as_str(), receipt["region"].as_str()), (Some(&*zoe.id), Some("us-east")));
    assert!(receipt.get("secret").is_none(), "the guest has it already");
    let posted = Call::new("POST", format!("{}/visits", venue.path))
        .json(&json!({"persons": [{"name": "Søren Ærø", "phone": "0170 9876543"}]}))
        .to(ap)
        .expect(201)
        .json();
    let answered = jiff::Timestamp::now();
    let posted_id = posted["visit_id"].as_str().unwrap();
    assert!(posted["receipt_url"].as_str().unwrap().ends_with(posted["secret"].as_str().unwrap()), "{posted}");
    within("both are in the list at eu-central", SOON, || {
        let list = venue.list(eu);
        let names = [&*zoe.id, posted_id].map(|id| Some(list.get(id)?["persons"][0]["name"].as_str()?.to_owned()));
        if names == [Some("Zoë Nguyễn".into()), Some("Søren Ærø".into())] { Ok(()) } else { Err(list) }
    });
    for at in up.public {
        within("every region says who took the check-in", SOON, || {
            let guests = venue.guests(at);
            let took = |id: &str| {
                let row = guests["visits"].as_array().unwrap().iter().find(|row| row["visit_id"] == id)?;
                Some(row["region"].as_str().unwrap().to_owned())
            };
            let said = (took(&zoe.id), took(posted_id));
            if said == (Some("us-east".into()), Some("ap-southeast".into())) { Ok(()) } else { Err(said) }
        });
    }
    within("the list is complete", SOON, || {
        let through = venue.completeness(eu);
        assert!(through.keys().all(|region| REGIONS.contains(&&**region)), "{through:?}");
        if through.len() == 3 && through.values().all(|through| *through >= answered) { Ok(()) } else { Err(through) }
    });
    zoe
}

/// The same `PUT` twice in one region, in another region, and with other content.
fn repeats(up: &Up, venue: &Venue, zoe: &Visit) {
    for at in up.public {
        let repeat = zoe.put().to(at).expect(200).json();
        assert_eq!(repeat["visit_id"], *zoe.id);
    }
    let mut other = zoe.clone();
    other.body["persons"][0]["name"] = "Somebody Else".into();
    other.put().to(up.public[1]).problem(409);
    up.agree(venue, "nothing is there twice", |list| list.len() == 2);
}

/// Check-ins to one region whose connection breaks before the answer, each then repeated in another region.
fn cut_off(up: &Up, venue: &Venue) {
    let before = venue.list(up.public[0]).len();
    let visits: Vec<Visit> = (0..12).map(|number| venue.visit(&format!("Cut Off {number}"), "030 23125 001")).collect();
    for (number, visit) in visits.iter().enumerate() {
        let request = visit.put().render("meridian.test");
        let mut stream = client::connect(up.public[1]).unwrap();
        // Half a request has no effect; a whole one may have been executed before the connection broke.
        let sent = if number % 4 == 0 { request.len() / 2 } else { request.len() };
        stream.write_all(&request[..sent]).unwrap();
        drop(stream);
        let repeated = visit.put().to(up.public[2]);
        assert!(matches!(repeated.status, 200 | 201), "{repeated:?}");
    }
    up.agree(venue, "each exists once", |list| {
        list.len() == before + visits.len() && visits.iter().all(|visit| list.contains_key(&visit.id))
    });
}

/// The same phone number corrected in two regions at the same moment: both values are shown.
///
/// The test does not control which of two requests is executed first, so one pair may be sequential. That all pairs are
/// is practically impossible. (Behind a cut link every pair is concurrent: `failures.rs`.)
fn concurrent_corrections(up: &Up, venue: &Venue) {
    let [_, us, ap] = up.public;
    let visits: Vec<Visit> = (0..8).map(|number| venue.visit(&format!("Twice {number}"), "030 1000")).collect();
    visits.iter().for_each(|visit| drop(visit.check_in(us)));
    up.agree(venue, "they are everywhere", |list| visits.iter().all(|visit| list.contains_key(&visit.id)));
    for visit in &visits {
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for (at, phone) in [(us, "030 1111"), (ap, "030 2222")] {
                let start = &start;
                scope.spawn(move || {
                    let (request, mut stream) =
                        (visit.correct(phone).render("meridian.test"), client::connect(at).unwrap());
                    start.wait();
                    stream.write_all(&request).unwrap();
                    client::read(&mut stream).unwrap().expect(200);
                });
            }
        });
    }
    let shows_both = |row: &Value| {
        let shown = conflicts(row);
        shown.contains("030 1111") && shown.contains("030 2222")
    };
    let settled = |row: &Value| shows_both(row) || (conflicts(row).is_empty() && phone(row) != "030 1000");
    up.agree(venue, "the corrections are everywhere", |list| visits.iter().all(|visit| settled(&list[&visit.id])));
    within("all regions show the same", SOON, || {
        let [one, two, three] = up.public.map(|at| venue.list(at));
        if one == two && two == three { Ok(()) } else { Err((one, two, three)) }
    });
    let list = venue.list(up.public[0]);
    let both = visits.iter().filter(|visit| shows_both(&list[&visit.id])).count();
    assert!(both > 0, "no concurrent correction shows both values: {list:?}");
}

/// An erasure in the third region takes effect everywhere.
fn erase(up: &Up, venue: &Venue, zoe: &Visit) {
    let [.., ap] = up.public;
    for _ in 0..2 {
        assert_eq!(zoe.erase().to(ap).status, 204, "and again: the same");
    }
    up.agree(venue, "it is gone", |list| !list.contains_key(&zoe.id));
    for at in up.public {
        let problem = zoe.get().to(at).problem(410);
        assert_eq!(problem["type"], "urn:meridian:problem:erased");
        zoe.put().to(at).problem(410);
        zoe.correct("030 3333").to(at).problem(410);
        assert!(!problem.to_string().contains("Zoë"));
    }
}

/// `meridian status` finds the deployment by its folder.
fn status(data: &Path) {
    within("all are ready", SOON, || {
        let output = Command::new(MERIDIAN).args(["status", "--json", "--data"]).arg(data).output().unwrap();
        let nodes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(nodes.len(), 3);
        let are_ready = nodes.iter().all(|node| node["status"]["ready"] == true);
        assert_eq!(output.status.success(), are_ready, "{nodes:?}");
        if are_ready { Ok(()) } else { Err(nodes) }
    });
}

/// `load --visibility` sees each check-in that it follows in all other regions.
fn load_follows_check_ins(up: &Up) {
    let targets = up.public.map(|at| format!("http://{at}")).join(",");
    let mut command = Command::new(MERIDIAN);
    command.args(["load", "--json", "--max", "--visibility", "--connections", "3", "--duration", "2s", "--seed", "1"]);
    let output = command.args(["--target", &targets, "--data"]).arg(&up.data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let regions = report["visibility"].as_array().unwrap();
    assert_eq!(regions.len(), 3, "{report:#}");
    for region in regions {
        assert!(region["seen"].as_u64().unwrap() > 0, "{report:#}");
        assert_eq!(region["never"], 0, "{report:#}");
    }
}

/// A venue whose visits live for seconds: readers in all regions see a visit until its last second, and not longer.
#[test]
fn visits_vanish_at_their_second() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 0);
    // Long enough for a check-in, its way to the other regions and a list of each, also on a busy machine.
    let venue = Venue::make(up.public[0], "20s");
    holds("the venue is known in all regions", SOON, || {
        up.public.iter().all(|at| Call::new("GET", &venue.path).to(*at).status == 200)
    });
    let visit = venue.visit("Ane O’Connor", "(030) 1234-5678");
    let receipt = visit.check_in(up.public[1]).json();
    let expires: jiff::Timestamp = receipt["expires_at"].as_str().unwrap().parse().unwrap();
    let expires = Wall(u64::try_from(expires.as_millisecond()).unwrap());
    let arrival = visit.id.parse::<registry::VisitId>().unwrap().arrival();
    assert_eq!(expires, arrival.plus(Duration::from_secs(20)));

    let mut seen_by = [false; 3];
    let mut gone_at = [false; 3];
    holds("it has come and gone in all regions", MINUTE, || {
        for (region, at) in up.public.into_iter().enumerate() {
            let asked = now();
            let shown = venue.list(at).contains_key(&visit.id);
            let answered = now();
            // If question and answer are on one side of the moment, the answer must be right to the millisecond.
            assert!(asked < expires || !shown, "{} shows it {} ms late", REGIONS[region], asked.0 - expires.0);
            assert!(answered >= expires || shown || !seen_by[region], "{} lost it early", REGIONS[region]);
            seen_by[region] |= shown;
            gone_at[region] |= asked >= expires;
        }
        gone_at == [true; 3]
    });
    assert_eq!(seen_by, [true; 3], "every region showed it while it lived");
    for at in up.public {
        let problem = visit.get().to(at).problem(410);
        assert_eq!(problem["type"], "urn:meridian:problem:expired");
        visit.put().to(at).problem(410);
    }
    assert!(up.stop_all() < Duration::from_secs(15));
}
