//! Regions that die, freeze, stop, are cut off and lose their disk: no acknowledged write is lost, no erased visit
//! comes back, no visit exists twice, and the other regions continue meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::deployment::AGREED;
use crate::common::guest::{List, conflicts, phone};
use crate::common::load::{Load, failed};
use crate::common::{Deployment, Venue, Visit, holds, within};
use nix::sys::signal::Signal;
use service::authority::CertificateAuthority;

const EU: usize = 0;
const US: usize = 1;
const AP: usize = 2;

/// After this many writes of a node the load is well under way.
const UNDER_WAY: f64 = 100.0;

#[test]
fn a_region_is_killed_under_load() {
    let mut deployment = Deployment::start(3);
    let mut load = Load::start(&deployment);
    load.wait_writes(&deployment, US, UNDER_WAY);
    deployment.nodes[US].kill();
    // The other regions never stop.
    for node in [EU, AP] {
        let writes = deployment.nodes[node].metric("meridian_writes_total");
        load.wait_writes(&deployment, node, writes + UNDER_WAY);
    }
    deployment.nodes[US].start_again();
    load.wait_writes(&deployment, US, UNDER_WAY);
    let report = load.passed();
    assert_eq!(failed(&report, "check-in"), 0, "guests went to the next region: {report:#}");
    assert!(!report["retries"].as_array().unwrap().is_empty(), "the kill was noticed: {report:#}");
    deployment.wait_linked();
    quiet(&deployment);
}

#[test]
fn a_region_freezes_under_load() {
    let mut deployment = Deployment::start(3);
    let mut load = Load::start(&deployment);
    load.wait_writes(&deployment, AP, UNDER_WAY);
    deployment.nodes[AP].process().signal(Signal::SIGSTOP);
    let frozen = Instant::now();
    // Longer than the silence that the peers tolerate: they close the link.
    holds("the frozen region is given up", AGREED, || {
        [EU, US].into_iter().all(|node| !deployment.nodes[node].linked().contains(&"ap-southeast".to_owned()))
    });
    // The other regions work during the whole minute.
    while frozen.elapsed() < Duration::from_secs(60) {
        let writes = deployment.nodes[EU].metric("meridian_writes_total");
        load.wait_writes(&deployment, EU, writes + UNDER_WAY);
    }
    deployment.nodes[AP].process().signal(Signal::SIGCONT);
    deployment.nodes[AP].wait_ready();
    let writes = deployment.nodes[AP].metric("meridian_writes_total");
    load.wait_writes(&deployment, AP, writes + UNDER_WAY);
    let report = load.passed();
    assert_eq!(failed(&report, "check-in"), 0, "guests went to the next region: {report:#}");
    deployment.wait_linked();
    deployment.nodes[AP].wait_ready();
    quiet(&deployment);
}

#[test]
fn a_region_is_stopped_under_load() {
    let mut deployment = Deployment::start(3);
    let mut load = Load::start(&deployment);
    load.wait_writes(&deployment, EU, UNDER_WAY);
    let took = deployment.nodes[EU].stop();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(deployment.nodes[EU].log().contains("everything acknowledged is durable"));
    let writes = deployment.nodes[US].metric("meridian_writes_total");
    load.wait_writes(&deployment, US, writes + UNDER_WAY);
    deployment.nodes[EU].start_again();
    load.wait_writes(&deployment, EU, UNDER_WAY);
    let report = load.passed();
    assert_eq!(failed(&report, "check-in"), 0, "guests went to the next region: {report:#}");
    quiet(&deployment);
}

/// The visits of the isolation, by what happens to them.
struct Isolation {
    /// Corrected in the isolated region.
    corrected_inside: Visit,
    /// Corrected outside.
    corrected_outside: Visit,
    /// Corrected on both sides.
    corrected_twice: Visit,
    /// Erased in the isolated region, then checked in again outside.
    erased_inside: Visit,
    /// Erased outside, corrected in the isolated region.
    erased_outside: Visit,
    /// Checked in outside during the cut, erased by its guest in the isolated region, which has not seen it.
    erased_unseen: Visit,
    /// One check-in, sent to both sides during the cut.
    sent_twice: Visit,
    inside: Vec<Visit>,
    outside: Vec<Visit>,
}

#[test]
fn a_region_is_cut_off_while_both_sides_write() {
    let deployment = Deployment::start(3);
    let [eu, us, ap] = [EU, US, AP].map(|node| deployment.nodes[node].public);
    let venue = Venue::make(eu, "14d");
    deployment.wait_known(&venue);
    let new = |name: &str| venue.visit(name, "030 1000");
    let many = |name: &str| (0..10).map(|number| new(&format!("{name} {number}"))).collect::<Vec<_>>();
    let visits = Isolation {
        corrected_inside: new("corrected inside"),
        corrected_outside: new("corrected outside"),
        corrected_twice: new("corrected twice"),
        erased_inside: new("erased inside"),
        erased_outside: new("erased outside"),
        erased_unseen: new("erased unseen"),
        sent_twice: new("sent twice"),
        inside: many("inside"),
        outside: many("outside"),
    };
    let early = [
        &visits.corrected_inside,
        &visits.corrected_outside,
        &visits.corrected_twice,
        &visits.erased_inside,
        &visits.erased_outside,
    ];
    early.iter().zip([eu, us, ap].into_iter().cycle()).for_each(|(visit, at)| drop(visit.check_in(at)));
    deployment.wait_complete(&venue);

    deployment.isolate(US);
    let cut = jiff::Timestamp::now();
    visits.write_on_both_sides(us, [eu, ap]);
    stands_still(&deployment, &venue, cut);
    for at in [eu, ap] {
        within("those outside agree", AGREED, || visits.outside_sees(&venue.list(at)));
    }
    // Nothing crossed the cut: the writes of the isolated region are only there, and the other way round.
    let outside = venue.list(eu);
    assert!(visits.inside.iter().all(|visit| !outside.contains_key(&visit.id)));
    let inside = venue.list(us);
    assert!(visits.outside.iter().all(|visit| !inside.contains_key(&visit.id)));

    deployment.heal();
    deployment.wait_complete(&venue);
    let lists = [eu, us, ap].map(|at| venue.list(at));
    assert_eq!(lists[EU], lists[US]);
    assert_eq!(lists[EU], lists[AP]);
    visits.all_there(&lists[EU]);
    for at in [eu, us, ap] {
        for erased in [&visits.erased_inside, &visits.erased_outside, &visits.erased_unseen] {
            erased.get().to(at).problem(410);
            erased.put().to(at).problem(410);
        }
    }
    quiet(&deployment);
}

impl Isolation {
    fn write_on_both_sides(&self, isolated: std::net::SocketAddr, others: [std::net::SocketAddr; 2]) {
        let [eu, ap] = others;
        for ((inside, outside), other) in self.inside.iter().zip(&self.outside).zip(others.into_iter().cycle()) {
            inside.check_in(isolated);
            outside.check_in(other);
        }
        self.corrected_inside.correct("030 1111").to(isolated).expect(200);
        self.corrected_outside.correct("030 2222").to(ap).expect(200);
        self.corrected_twice.correct("030 1111").to(isolated).expect(200);
        self.corrected_twice.correct("030 2222").to(eu).expect(200);
        self.erased_inside.erase().to(isolated).expect(204);
        self.erased_inside.put().to(eu).expect(200);
        self.erased_outside.correct("030 1111").to(isolated).expect(200);
        self.erased_outside.erase().to(ap).expect(204);
        self.erased_unseen.check_in(eu);
        self.erased_unseen.erase().to(isolated).expect(204);
        self.sent_twice.check_in(isolated);
        self.sent_twice.check_in(ap);
    }

    /// The writes of each other that eu-central and ap-southeast must show.
    fn outside_sees(&self, list: &List) -> Result<(), String> {
        let there = |visit: &Visit| list.contains_key(&visit.id);
        let wanted = self.outside.iter().chain([&self.erased_unseen, &self.sent_twice, &self.erased_inside]);
        if wanted.into_iter().all(there) && !there(&self.erased_outside) { Ok(()) } else { Err(format!("{list:?}")) }
    }

    /// The visits that every region must show in the end.
    fn all_there(&self, list: &List) {
        let wanted = self.inside.iter().chain(&self.outside).chain([
            &self.corrected_inside,
            &self.corrected_outside,
            &self.corrected_twice,
            &self.sent_twice,
        ]);
        let mut wanted: Vec<&str> = wanted.map(|visit| visit.id.as_str()).collect();
        wanted.sort_unstable();
        assert_eq!(list.keys().map(String::as_str).collect::<Vec<_>>(), wanted);
        let row = |visit: &Visit| &list[&visit.id];
        for visit in self.inside.iter().chain(&self.outside).chain([&self.sent_twice]) {
            assert_eq!(row(visit)["persons"], visit.body["persons"]);
            assert_eq!(conflicts(row(visit)), "");
        }
        assert_eq!(phone(row(&self.corrected_inside)), "030 1111");
        assert_eq!(phone(row(&self.corrected_outside)), "030 2222");
        let both = conflicts(row(&self.corrected_twice));
        assert!(both.contains("030 1111") && both.contains("030 2222"), "{both}");
    }
}

/// While a region is cut off, lists claim to know it up to the cut, however much time passes.
fn stands_still(deployment: &Deployment, venue: &Venue, cut: jiff::Timestamp) {
    for (node, isolated) in [(EU, "us-east"), (AP, "us-east"), (US, "eu-central")] {
        let node = &deployment.nodes[node];
        within("the region's own part goes on", AGREED, || {
            let through = venue.completeness(node.public);
            // A region makes only claims about itself that are true at that moment, and no later claim crossed the cut.
            assert!(through[isolated] <= cut, "{} believes {through:?}, cut at {cut}", node.region);
            let ahead = through[node.region].duration_since(cut);
            if ahead >= jiff::SignedDuration::from_secs(2) { Ok(()) } else { Err(through) }
        });
    }
    within("those outside hear each other", AGREED, || {
        let through = venue.completeness(deployment.nodes[EU].public);
        if through["ap-southeast"] > cut { Ok(()) } else { Err(through) }
    });
}

#[test]
fn a_disk_goes_back_in_time() {
    // A node that has heard no peer in time takes a new id without any word of a disk that went back.
    let mut deployment = Deployment::patient(3);
    let [eu, us, ap] = [EU, US, AP].map(|node| deployment.nodes[node].public);
    let venue = Venue::make(eu, "14d");
    deployment.wait_known(&venue);
    let some = |name: &str| (0..8).map(|number| venue.visit(&format!("{name} {number}"), "030 1000")).collect();
    let (copied, lost, elsewhere): (Vec<Visit>, Vec<Visit>, Vec<Visit>) = (some("copied"), some("lost"), some("else"));
    copied.iter().for_each(|visit| drop(visit.check_in(eu)));
    deployment.wait_complete(&venue);

    deployment.nodes[EU].stop();
    let (store, copy) = (deployment.nodes[EU].store(), deployment.scratch().join("copy"));
    copy_folder(&store, &copy);
    deployment.nodes[EU].start_again();
    deployment.wait_linked();
    // After the copy: new visits, a correction and an erasure, all written by this region.
    lost.iter().for_each(|visit| drop(visit.check_in(eu)));
    copied[0].correct("030 2222").to(eu).expect(200);
    copied[1].erase().to(eu).expect(204);
    elsewhere.iter().for_each(|visit| drop(visit.check_in(us)));
    deployment.wait_complete(&venue);
    let before = venue.list(ap);
    assert_eq!(before.len(), 3 * 8 - 1);
    let replica = |deployment: &Deployment| deployment.nodes[EU].status()["replica"].clone();
    let old = replica(&deployment);

    deployment.nodes[EU].stop();
    std::fs::remove_dir_all(&store).unwrap();
    copy_folder(&copy, &store);
    deployment.nodes[EU].start_again();
    deployment.wait_linked();
    assert_ne!(replica(&deployment), old, "no place in its log may be used twice");
    let node = &deployment.nodes[EU];
    assert!(node.metric("meridian_rollbacks_total") >= 1.0, "{}", node.log());
    assert!(node.log().contains("this node's disk went back in time"));
    deployment.wait_complete(&venue);
    for at in [eu, us, ap] {
        assert_eq!(venue.list(at), before, "{at}");
    }
    // The region takes writes again, and none of them is taken for an old one.
    let after: Vec<Visit> = some("after");
    after.iter().for_each(|visit| drop(visit.check_in(eu)));
    deployment.wait_complete(&venue);
    for at in [eu, us, ap] {
        let list = venue.list(at);
        assert_eq!(list.len(), before.len() + after.len());
        assert!(after.iter().all(|visit| list.contains_key(&visit.id)));
        copied[1].get().to(at).problem(410);
    }
    assert!(deployment.nodes.iter().all(|node| node.status()["clock"]["in_doubt"] == false));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Checks that no failure made a node do what must never happen.
fn quiet(deployment: &Deployment) {
    for node in &deployment.nodes {
        let log = node.log();
        assert!(!log.contains("panicked"), "{log}");
        for metric in [
            "meridian_replication_bad_frames_total",
            "meridian_replication_refused_peers_total",
            "meridian_replication_refused_deltas_total",
            "meridian_rollbacks_total",
            "meridian_unreadable_rows_total",
        ] {
            assert_eq!(node.metric(metric), 0.0, "{metric} of {}\n{log}", node.region);
        }
    }
}

/// The authority and all certificates are replaced while one node runs on; only the other is started again.
#[test]
fn certificates_are_replaced_while_a_node_runs() {
    let mut deployment = Deployment::start(2);
    deployment.wait_linked();
    let until = deployment.nodes[EU].status()["certificate_until"].as_str().unwrap().to_owned();
    assert!(until > jiff::Timestamp::now().to_string(), "{until}");
    let authority = CertificateAuthority::create(&deployment.certs(), true).unwrap();
    deployment.nodes[US].kill();
    authority.issue(&"us-east".parse().unwrap(), true).unwrap();
    deployment.nodes[US].start_again();
    // The old certificate does not prove anything any more.
    holds("the node says that its certificate is not good", AGREED, || {
        deployment.nodes[EU].status()["certificate_until"].is_null()
    });
    // A client of TLS 1.3 hears of its refusal only after its own handshake, so a link may seem to be up for a moment.
    holds("the peer refuses it", AGREED, || {
        deployment.nodes[US].metric("meridian_replication_refused_peers_total") > 0.0
    });
    authority.issue(&"eu-central".parse().unwrap(), true).unwrap();
    holds("the new certificate is good", AGREED, || deployment.nodes[EU].status()["certificate_until"].is_string());
    assert!(deployment.nodes[EU].log().contains("the certificates were read again"));
    deployment.wait_linked();
}
