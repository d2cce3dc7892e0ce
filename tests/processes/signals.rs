//! Signals that operators and their tools send: most do nothing, some stop a process in peace.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::common::{Call, Up, holds};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn signals_of_other_tools_end_nobody_and_sigquit_stops_in_peace() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = Up::start(&folder.path().join("data"), 1);
    let names = ["eu-central", "us-east", "ap-southeast", "router-1"];
    let before = names.map(|name| up.pid(name));
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM] {
        before.iter().for_each(|pid| kill(*pid, signal).unwrap());
        up.process.signal(signal);
    }
    // The router reads its file again, so it has taken the signals in.
    let log = |name: &str| std::fs::read_to_string(up.data.join(name).join("log")).unwrap();
    holds("the router has heard it", SOON, || log("router-1").contains("the configuration file was read again"));
    for at in [up.edge(), up.node(0), up.node(1), up.node(2)] {
        holds("it is ready", SOON, || Call::new("GET", "/readyz").to(at).status == 200);
    }
    assert_eq!(names.map(|name| up.pid(name)), before);
    assert!(up.process.runs());
    kill(up.pid("us-east"), Signal::SIGQUIT).unwrap();
    holds("it stops in peace", SOON, || log("us-east").contains("stopped; everything acknowledged is durable"));
    up.process.signal(Signal::SIGQUIT);
    let (status, _) = up.process.ended(Duration::from_secs(60));
    assert!(status.success(), "{status}");
}
