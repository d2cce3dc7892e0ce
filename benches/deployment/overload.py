"""A region that is sent twice what it can take: accepted check-ins stay fast, and the rest is refused at once.

The region has a slow disk (each sync takes longer), because servers and clients share the processors here: with a fast one
the clients would be the bottleneck. Its sustainable rate is measured first, with a closed loop of clients. Then an open
loop sends twice that rate for some minutes, to that region alone, while the memory of its node is watched. In the end half
the rate shows how soon all is normal again. Every acknowledged check-in of the overload is read back from all regions.
"""

import subprocess
import threading

from harness import Deployment, load_result, say, table


def options(parser):
    parser.add_argument("--engines", nargs="+", default=["sled", "fjall"])
    parser.add_argument("--seconds", type=int, default=300, help="of overload")
    parser.add_argument("--connections", type=int, default=3900, help="of the overload; one client may have 4,000")
    parser.add_argument("--sync", default="200ms", help="by how much longer each sync takes")
    parser.add_argument("--times", type=float, default=2, help="the sustainable rate")
    parser.add_argument("--aim", type=float, default=2000, help="ms: exit with 1 if the p99 of accepted ones is above")


class Memory:
    """Looks at the resident memory (MiB) of a node each second."""

    def __init__(self, node):
        self.node, self.seen, self.ended = node, [], threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.ended.wait(1):
            self.seen.append(self.node.memory()[0])

    def end(self):
        self.ended.set()
        self.thread.join()
        return self.seen


def measure(args):
    out, rows, holds = [], [], True
    for engine in args.engines:
        with Deployment(args.meridian, engine) as deployment:
            node, alone = deployment.nodes[0], {"targets": deployment.nodes[0].url}
            slow = ["fault", "begin", "--data", deployment.folder, "--node", node.region, "--for", "30m"]
            subprocess.run([args.meridian, *slow, "slow-disk", "--by", args.sync], check=True, stdout=subprocess.DEVNULL)
            deployment.load("--max", "--connections", 64, "--duration", "5s", "--no-verify", **alone)
            closed = deployment.load("--max", "--connections", 1000, "--duration", "20s", "--no-verify", **alone)
            rate = closed["operations_per_s"]
            say(f"{engine}: {rate:.0f}/s are sustainable; {args.times * rate:.0f}/s for {args.seconds} s")
            deployment.wait_complete(60)
            memory = Memory(node)
            load = deployment.start_load(
                "--rate", f"{args.times * rate:.0f}", "--connections", args.connections, "--duration",
                f"{args.seconds}s", "--verify-at", deployment.urls, "--verify-timeout", "120s", **alone,
            )  # fmt: skip
            over = load_result(load, args.seconds + 600)
            seen = memory.end()[: args.seconds]
            normal = deployment.load(
                "--rate", f"{rate / 2:.0f}", "--connections", 256, "--duration", "10s", "--no-verify", **alone
            )
            deployment.wait_complete(60)
        # The first half warms caches up; afterwards the memory is to stay as it is.
        middle, last = seen[len(seen) // 2], max(seen[-10:])
        one = {
            "engine": engine, "sustainable_per_s": rate, "sent_per_s": args.times * rate,
            "accepted_per_s": over["operations_per_s"], "accepted": over["operations"][0]["acknowledged"],
            "accepted_p50_ms": over["operations"][0]["p50_ms"], "accepted_p99_ms": over["operations"][0]["p99_ms"],
            "refused": {failure["outcome"]: failure["count"] for failure in over["failures"]},
            "refusals": over.get("refusals"), "never_sent": over["never_sent"],
            "memory_mib": {"half_time": middle, "end": last, "most": max(seen)}, "verified": over["verification"],
            "normal_p99_ms": normal["operations"][0]["p99_ms"], "normal_failures": normal["failures"],
        }  # fmt: skip
        out.append(one)
        holds &= one["accepted_p99_ms"] <= args.aim and over["verification"]["passed"]
        rows.append([
            engine, f"{rate:.0f}", f"{one['accepted_per_s']:.0f}", f"{one['accepted_p50_ms']:.0f}",
            f"{one['accepted_p99_ms']:.0f}", sum(one["refused"].values()),
            "-" if one["refusals"] is None else f"{one['refusals']['p99_ms']:.0f}", one["never_sent"],
            f"{middle:.0f}", f"{last:.0f}", f"{one['normal_p99_ms']:.1f}",
        ])  # fmt: skip
    print(f"\none region at {args.times} times its rate for {args.seconds} s; ms, MiB")
    header = ["engine", "rate", "accepted/s", "p50", "p99", "refused", "p99 of them", "never sent"]
    table([*header, "memory at half time", "at the end", "p99 afterwards"], rows)
    return out, holds
