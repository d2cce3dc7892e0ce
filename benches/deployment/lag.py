"""How long until an acknowledged check-in can be read in the other regions.

Closed-loop clients check in at all three regions in turn. `meridian load --visibility` follows some of the check-ins: it
asks the other regions for the guest's own record, with the guest's secret, until they have it.
"""

from harness import Deployment, median, say, table


def options(parser):
    parser.add_argument("--before", help="another binary to measure in turn with it")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 3, 6, 64], help="closed-loop clients")
    parser.add_argument("--engines", nargs="+", default=["sled", "fjall"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of load for each figure")
    parser.add_argument("--aim", type=float, default=50, help="ms: exit with 1 if a p99 of few clients is above")


def measure(args):
    builds = {"after": args.meridian}
    if args.before:
        builds = {"before": args.before, **builds}
    found = {}
    for number in range(args.rounds):
        for engine in args.engines:
            # The order alternates, so that neither build always comes first.
            for build in list(builds)[:: -1 if number % 2 else 1]:
                say(f"lag: round {number + 1}, {engine}, {build}")
                with Deployment(builds[build], engine, load_with=args.meridian) as deployment:
                    # The store, its caches and the links warm up before the measurement.
                    deployment.load("--max", "--connections", 6, "--duration", "2s", "--no-verify")
                    for clients in args.clients:
                        report = deployment.load(
                            "--max", "--connections", clients, "--duration", f"{args.seconds}s", "--no-verify",
                            "--visibility", "--verify-timeout", "20s",
                        )  # fmt: skip
                        found.setdefault((engine, clients, build), []).append(figures(report))
                        deployment.wait_complete(30)
    rows, out, holds = [], [], True
    for (engine, clients, build), rounds in sorted(found.items()):
        middle = {name: median([one[name] for one in rounds]) for name in rounds[0]}
        out.append({"engine": engine, "clients": clients, "build": build, "median": middle, "rounds": rounds})
        rows.append([
            engine, clients, build, f"{middle['check_ins_per_s']:.0f}",
            f"{middle['ack_p50_ms']:.1f}", f"{middle['ack_p99_ms']:.1f}",
            f"{middle['p50_ms']:.1f}", f"{middle['p99_ms']:.1f}", f"{max(one['p99_ms'] for one in rounds):.1f}",
            f"{middle['max_ms']:.0f}", sum(one["followed"] for one in rounds), sum(one["never"] for one in rounds),
        ])  # fmt: skip
        if build == "after":
            holds &= not any(one["never"] for one in rounds) and (clients > 6 or middle["p99_ms"] <= args.aim)
    print(f"\nfrom acknowledgement to visible elsewhere, medians of {args.rounds} rounds, ms")
    header = ["engine", "clients", "build", "check-ins/s", "ack p50", "ack p99", "p50", "p99", "worst p99"]
    table([*header, "max", "followed", "never"], rows)
    return out, holds


def figures(report):
    """The figure of the worst region."""
    regions = [one for one in report["visibility"] if one["seen"] + one["never"]]
    return {
        "check_ins_per_s": report["check_ins_per_s"],
        "ack_p50_ms": report["operations"][0]["p50_ms"],
        "ack_p99_ms": report["operations"][0]["p99_ms"],
        "p50_ms": max(one["p50_ms"] for one in regions),
        "p99_ms": max(one["p99_ms"] for one in regions),
        "max_ms": max(one["max_ms"] for one in regions),
        "followed": sum(one["seen"] for one in regions),
        "never": sum(one["never"] for one in regions),
    }
