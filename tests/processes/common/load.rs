//! `meridian load` against a deployment: the load runs while a test causes failures, and its verification gives the
//! verdict.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::MERIDIAN;
use super::deployment::Deployment;
use super::process::Process;
use super::wait::holds;

/// Longer than any test needs: the test ends the load, however slow the machine is.
const DURATION: &str = "5m";
/// How long the end of a load may take after its report.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a number of writes may take.
const WRITES: Duration = Duration::from_secs(30);

/// A load that is being sent.
pub(crate) struct Load(Process);

impl Load {
    /// Sends check-ins, corrections and erasures to all regions until [`passed`](Self::passed), and repeats at the next
    /// region after a failure.
    pub(crate) fn start(deployment: &Deployment) -> Load {
        let mut command = Command::new(MERIDIAN);
        command.args(["load", "--json", "--failover", "--rate", "150", "--duration", DURATION]);
        command.args(["--corrections", "0.1", "--erasures", "0.1", "--venues", "2", "--connections", "24"]);
        command.args(["--timeout", "3s", "--verify-timeout", "60s", "--seed", "1", "--target"]);
        command.arg(deployment.targets()).arg("--data").arg(deployment.scratch().join("no-deployment-of-up"));
        Load(Process::start(command.stdout(Stdio::piped())))
    }

    /// Waits until a node has made so many client writes durable.
    #[track_caller]
    pub(crate) fn wait_writes(&mut self, deployment: &Deployment, node: usize, writes: f64) {
        let node = &deployment.nodes[node];
        holds("the load goes on", WRITES, || {
            assert!(self.0.runs(), "the load has ended already");
            node.metric("meridian_writes_total") >= writes
        });
    }

    /// Ends the load; fails unless its own verification passed. Returns the whole report.
    #[track_caller]
    pub(crate) fn passed(mut self) -> Value {
        // As Ctrl-C does: nothing more is sent, and what was sent is verified.
        self.0.signal(Signal::SIGINT);
        let mut text = String::new();
        // The output is one line at the end, so reading it waits for the end.
        self.0.stdout().unwrap().read_to_string(&mut text).unwrap();
        let (status, _) = self.0.ended(LIMIT);
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(status.success(), "{status}: {report:#}");
        assert_eq!(report["verification"]["passed"], true, "{report:#}");
        // A load that did nothing would prove nothing.
        for operation in report["operations"].as_array().unwrap() {
            assert!(operation["acknowledged"].as_u64().unwrap() >= 20, "{report:#}");
        }
        report
    }
}

/// Number of operations of a kind that finally failed.
pub(crate) fn failed(report: &Value, kind: &str) -> u64 {
    let operations = report["operations"].as_array().unwrap();
    let operation = operations.iter().find(|operation| operation["operation"] == kind);
    operation.unwrap_or_else(|| panic!("no {kind}: {report:#}"))["failed"].as_u64().unwrap()
}
