"""Where the processor time of the nodes goes, by thread and by function.

All three regions are loaded by a closed loop of clients while `perf` takes samples of their nodes. A release build has
line tables if it was built with CARGO_PROFILE_RELEASE_DEBUG=line-tables-only; without them inlined functions count for
their callers.
"""

import os
import shutil
import subprocess

from harness import Deployment, load_result, say


def options(parser):
    parser.add_argument("--engines", nargs="+", default=["sled", "fjall"])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=int, help="check-ins a second, all regions together; without it as many as they take")
    parser.add_argument("--lines", type=int, default=45, help="functions to show")


def measure(args):
    if shutil.which("perf") is None:
        say("profile: perf is not installed")
        return {}, False
    out = {}
    for engine in args.engines:
        with Deployment(args.meridian, engine) as deployment:
            pace = ["--rate", args.rate] if args.rate else ["--max"]
            load = deployment.start_load(
                *pace, "--connections", args.connections, "--duration", f"{args.seconds + 4}s", "--no-verify"
            )
            samples = os.path.join(deployment.work, "perf.data")
            pids = ",".join(str(node.pid()) for node in deployment.nodes)
            record = ["perf", "record", "-q", "-F", "499", "-o", samples, "-p", pids, "--", "sleep", str(args.seconds)]
            # The first seconds warm caches up.
            subprocess.run(["sleep", "2"], check=True)
            subprocess.run(record, check=True, stderr=subprocess.DEVNULL)
            load_result(load)
            out[engine] = {"threads": shares(samples, "comm", 30), "functions": shares(samples, "comm,symbol", args.lines)}
        print(f"\n{engine}: share of the time of all nodes, by thread")
        print("\n".join(out[engine]["threads"]))
        print(f"\n{engine}: by thread and function")
        print("\n".join(out[engine]["functions"]), flush=True)
    return out, True


def shares(samples, by, most):
    """The lines of a report, the largest share first."""
    report = ["perf", "report", "-i", samples, "--stdio", "--no-children", "--sort", by, "--percent-limit", "0.3"]
    text = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")][:most]
