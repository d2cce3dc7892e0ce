"""The command line of the measurements; `run` describes them."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import catch_up
import cpu
import join
import lag
import overload
import profile_nodes
import restarts
from harness import ROOT, machine

NAMES = {
    "lag": lag, "cpu": cpu, "catch-up": catch_up, "join": join, "restarts": restarts, "overload": overload,
    "profile": profile_nodes,
}  # fmt: skip
# A profile is to be read, and has no figures to compare.
EVERY = [name for name in NAMES if name != "profile"]


def release():
    """Builds the release binary and returns its path."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "meridian")


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--meridian", help="the binary to measure, and the load generator")
    common.add_argument("--json", help="write all figures to this file")
    parser = argparse.ArgumentParser(prog="benches/deployment/run")
    commands = parser.add_subparsers(dest="name", required=True)
    for name, module in NAMES.items():
        module.options(commands.add_parser(name, parents=[common], help=module.__doc__.splitlines()[0]))
    every = commands.add_parser("all", parents=[common], help="All figures, with their defaults")
    every.add_argument("--before", help="another binary that `lag` and `cpu` measure in turn with it")
    args = parser.parse_args()

    # SIGTERM ends a run like Ctrl-C: every `finally` stops its processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    args.meridian = os.path.abspath(args.meridian) if args.meridian else release()
    figures = {"machine": machine(), "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    failed = False
    for name in EVERY if args.name == "all" else [args.name]:
        chosen = args
        if args.name == "all":
            options = [name, "--meridian", args.meridian]
            if args.before and name in ("lag", "cpu"):
                options += ["--before", args.before]
            chosen = parser.parse_args(options)
        figures[name], holds = NAMES[name].measure(chosen)
        failed |= not holds
        # Written after each measurement, so that a later one that fails loses no figures.
        if args.json:
            with open(args.json, "w") as file:
                json.dump(figures, file, indent=1)
                file.write("\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
