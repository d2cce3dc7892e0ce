//! A whole deployment as `meridian up` starts it, with routers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{Process, exists};
use super::{Call, MERIDIAN, holds, net, told_by_no_chance, within};

/// The regions in the order of their numbers.
pub(crate) const REGIONS: [&str; 3] = ["eu-central", "us-east", "ap-southeast"];

/// How long a whole deployment may take to be ready, or to stop.
const MINUTE: Duration = Duration::from_secs(60);

/// A running `meridian up` with routers.
pub(crate) struct Up {
    pub(crate) process: Process,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    /// Where each region's node listens.
    pub(crate) public: [SocketAddr; 3],
}

impl Up {
    /// Starts `up` with three regions and waits until it prints that it is ready.
    pub(crate) fn start(data: &Path, routers: u8) -> Up {
        Up::start_at(data, routers, Up::free_port())
    }

    /// A port from which on all ports of a deployment are free.
    pub(crate) fn free_port() -> u16 {
        let addresses = [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3], [1, 4]];
        net::free_base(&addresses.map(|[k, i]| IpAddr::V4(Ipv4Addr::new(127, 0, k, i))), 4)
    }

    /// As [`start`](Self::start), at a port that an earlier start had.
    pub(crate) fn start_at(data: &Path, routers: u8, port: u16) -> Up {
        let routers = routers.to_string();
        // Two routers need each other, so `up` refuses them by itself.
        let force: &[&str] = if routers == "2" { &["--force"] } else { &[] };
        Up::run(data, &[&["--regions", "3", "--routers", &routers], force].concat(), port)
    }

    /// Starts `up` again with the regions and routers that its folder has.
    pub(crate) fn resume(data: &Path, port: u16) -> Up {
        Up::run(data, &[], port)
    }

    fn run(data: &Path, options: &[&str], port: u16) -> Up {
        let log = data.with_extension("out");
        // An earlier start in the same folder printed that line too.
        std::fs::write(&log, "").unwrap();
        let mut command = Command::new(MERIDIAN);
        command.args(["up", "--base-port", &port.to_string()]).args(options);
        let mut process = Process::logged(command.arg("--data").arg(data), &log);
        within("`up` is ready", MINUTE, || {
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(process.runs(), "`up` ended: {said}");
            // The addresses come after the first of these lines, and before the last.
            if said.contains("\nReady.") && said.contains("\nCtrl-C stops all.") { Ok(()) } else { Err(said) }
        });
        let said = std::fs::read_to_string(&log).unwrap();
        let public = REGIONS.map(|region| {
            let line = said.lines().find(|line| line.trim_start().starts_with(region)).unwrap_or_default();
            let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
            // A region that was removed has no address.
            url.map_or(SocketAddr::from(([0; 4], 0)), |url| url.parse().unwrap())
        });
        Up { process, data: data.to_owned(), port, public }
    }

    pub(crate) fn at(&self, k: u8, i: u8, offset: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, k, i], self.port + offset))
    }

    pub(crate) fn edge(&self) -> SocketAddr {
        self.at(0, 1, 0)
    }

    pub(crate) fn node(&self, region: usize) -> SocketAddr {
        self.at(1, region as u8 + 1, 0)
    }

    /// `Authorization` of the operator that `up` has made.
    pub(crate) fn operator(&self) -> String {
        format!("Bearer {}", std::fs::read_to_string(self.data.join("operator-token")).unwrap().trim())
    }

    pub(crate) fn pid(&self, name: &str) -> Pid {
        Pid::from_raw(std::fs::read_to_string(self.data.join(name).join("pid")).unwrap().trim().parse().unwrap())
    }

    /// Kills a process of this deployment and waits until it is gone. `up` reports it and continues.
    #[track_caller]
    pub(crate) fn kill(&self, name: &str) {
        let pid = self.pid(name);
        kill(pid, Signal::SIGKILL).unwrap();
        // Only then are its ports and its store free for the next start.
        holds("the process is gone", MINUTE, || !exists(pid));
    }

    /// Starts a node or router again with the command that `up` prints.
    pub(crate) fn start_again(&self, name: &str) -> Process {
        let role = if name.starts_with("router") { "router" } else { "node" };
        let folder = self.data.join(name);
        let mut command = Command::new(MERIDIAN);
        Process::logged(command.args([role, "--config"]).arg(folder.join(format!("{role}.toml"))), &folder.join("log"))
    }

    /// The number of its routers.
    pub(crate) fn routers(&self) -> u8 {
        let has = |router: &u8| self.data.join(format!("router-{router}/router.toml")).is_file();
        (1..=9).take_while(has).count() as u8
    }

    /// The region that answers a client at the edge.
    pub(crate) fn answered(&self, client: &str) -> String {
        let answer = Call::new("GET", "/v1/cluster").header("X-Forwarded-For", client).to(self.edge()).expect(200);
        let region = answer.json()["region"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("meridian-region"), Some(&*region));
        region
    }

    /// No log of the deployment has any of these.
    pub(crate) fn logged_nothing_of(&self, secrets: &[&str]) {
        secrets.iter().for_each(|secret| told_by_no_chance(secret));
        let mut logs = 0;
        for entry in std::fs::read_dir(&self.data).unwrap() {
            let Ok(log) = std::fs::read_to_string(entry.unwrap().path().join("log")) else { continue };
            logs += 1;
            for secret in secrets {
                let told = log.lines().find(|line| line.contains(secret));
                assert_eq!(told, None, "a log has {secret}");
            }
        }
        assert!(logs >= 4, "the logs are read");
    }

    pub(crate) fn stop(mut self) {
        self.process.signal(Signal::SIGTERM);
        let (status, _) = self.process.ended(MINUTE);
        assert!(status.success(), "{status}");
    }
}
