"""Processor time of all servers per 1,000 replicated check-ins.

Check-ins arrive at a fixed rate at all three regions. The time of every server process, the router included, counts
from before the load until no region lacks an entry of another.
"""

import time

from harness import Deployment, median, say, stolen, table


def options(parser):
    parser.add_argument("--before", help="another binary to measure in turn with it")
    parser.add_argument("--engines", nargs="+", default=["sled", "fjall"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=600, help="check-ins a second, all regions together")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--aim", type=float, default=1.05, help="exit with 1 if after/before is above")


def measure(args):
    builds = {"after": args.meridian}
    if args.before:
        builds = {"before": args.before, **builds}
    found = {}
    for number in range(args.rounds):
        for engine in args.engines:
            for build in list(builds)[:: -1 if number % 2 else 1]:
                say(f"cpu: round {number + 1}, {engine}, {build}")
                with Deployment(builds[build], engine, load_with=args.meridian) as deployment:
                    deployment.load("--max", "--connections", 6, "--duration", "2s", "--no-verify")
                    deployment.wait_complete(30)
                    found.setdefault((engine, build), []).append(one(deployment, args))
    rows, out, holds = [], [], True
    for (engine, build), rounds in sorted(found.items()):
        middle = {name: median([one[name] for one in rounds]) for name in rounds[0]}
        ratio = None
        if build == "after" and args.before:
            ratio = middle["cpu_s_per_1000"] / median([one["cpu_s_per_1000"] for one in found[engine, "before"]])
            holds &= ratio <= args.aim
        out.append({"engine": engine, "build": build, "ratio": ratio, "median": middle, "rounds": rounds})
        each = [one["cpu_s_per_1000"] for one in rounds]
        rows.append([
            engine, build, f"{middle['check_ins_per_s']:.0f}", f"{middle['cpu_s_per_1000']:.3f}",
            f"{min(each):.3f} to {max(each):.3f}", f"{ratio:.3f}" if ratio else "",
            f"{middle['commits_per_1000']:.0f}", f"{middle['frame_bytes_per_check_in']:.0f}",
            f"{middle['written_mib_per_1000']:.2f}", f"{middle['stolen']:.0%}",
        ])  # fmt: skip
    print(f"\nall servers, per 1,000 check-ins in three regions, medians of {args.rounds} rounds at {args.rate}/s")
    header = ["engine", "build", "check-ins/s", "CPU s", "range", "after/before", "commits", "frame B/check-in"]
    table([*header, "MiB written", "host took"], rows)
    return out, holds


def one(deployment, args):
    servers = [option for pid in deployment.server_pids() for option in ("--server-pid", pid)]
    begun, before, taken, counted = time.monotonic(), deployment.cpu(), stolen(), counts(deployment)
    report = deployment.load(
        "--rate", args.rate, "--connections", 24, "--duration", f"{args.seconds}s", "--no-verify", *servers
    )
    deployment.wait_complete(30)
    check_ins = report["operations"][0]["acknowledged"]
    made = [after - before for after, before in zip(counts(deployment), counted)]
    return {
        "check_ins_per_s": report["check_ins_per_s"],
        "failed": sum(one["count"] for one in report["failures"]),
        "cpu_s_per_1000": (deployment.cpu() - before) / check_ins * 1_000,
        # The load's own figure, which ends with the last answer.
        "cpu_s_per_1000_of_load": sum(one["cpu_s"] for one in report["servers"]) / check_ins * 1_000,
        "written_mib_per_1000": sum(one["written_bytes"] for one in report["servers"]) / check_ins * 1_000 / 2**20,
        "commits_per_1000": made[0] / check_ins * 1_000,
        "frame_bytes_per_check_in": made[1] / check_ins,
        "stolen": (stolen() - taken) / (time.monotonic() - begun),
    }


def counts(deployment):
    """Group commits and bytes of frames sent, all regions together."""
    names = ("meridian_commit_seconds_count", "meridian_replication_bytes_total")
    labels = ("", 'direction="out"')
    return [sum(n.metric(name, label) for n in deployment.nodes) for name, label in zip(names, labels)]
