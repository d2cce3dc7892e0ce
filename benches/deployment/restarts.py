"""Hundreds of restarts of one region, and their effect on session tokens, the time to ready and commits.

SIGTERM and SIGKILL alternate, each as soon as the region is ready and has taken one check-in. First all peers are up,
then one of them is stopped: an id of a dead incarnation that a peer may still know cannot be forgotten then.
"""

import json
import signal
import time

from harness import GUEST, Client, Deployment, median, origins, quantile, say, table

TOKEN = "Meridian-Session"


def options(parser):
    parser.add_argument("--engines", nargs="+", default=["sled"])
    parser.add_argument("--restarts", type=int, default=200, help="with all peers up")
    parser.add_argument("--alone", type=int, default=100, help="with one peer stopped")
    parser.add_argument("--minutes", type=float, default=10, help="for each kind of peers: then it ends with what it has")
    parser.add_argument("--aim", type=int, default=16, help="origins in a token: exit with 1 if there are more")


def measure(args):
    out, rows, holds = [], [], True
    for engine in args.engines:
        with Deployment(args.meridian, engine) as deployment:
            for peers, count in (("all up", args.restarts), ("one stopped", args.alone)):
                say(f"restarts: {engine}, {peers}")
                if peers != "all up":
                    deployment.nodes[1].stop()
                steps = list(repeat(deployment, count, 60 * args.minutes))
                out.append({"engine": engine, "peers": peers, "steps": steps})
                holds &= len(steps) == count and steps[-1]["read_origins"] <= args.aim
                tenth = max(1, count // 10)
                for name, part in (("first", steps[:tenth]), ("last", steps[-tenth:]), ("all", steps)):
                    rows.append(row(engine, peers, name, part))
    print("\nrestarts of one region: token of a read (bytes and origins), of a check-in, ms to ready by signal, ms per commit")
    header = ["engine", "peers", "restarts", "number", "read B", "origins", "most", "check-in B"]
    table([*header, "TERM p50", "KILL p50", "max", "check-in p50", "commit"], rows)
    return out, holds


def row(engine, peers, name, steps):
    def of(key, signal_name=None):
        return [step[key] for step in steps if signal_name in (None, step["signal"])]

    ready = [1_000 * median(of("ready_s", one)) for one in ("SIGTERM", "SIGKILL")]
    return [
        engine, peers, name, len(steps), f"{median(of('read_token')):.0f}", f"{median(of('read_origins')):.0f}",
        max(of("read_origins")), f"{median(of('check_in_token')):.0f}", *(f"{one:.0f}" for one in ready),
        f"{1_000 * max(of('ready_s')):.0f}", f"{1_000 * quantile(of('check_in_s'), 0.5):.1f}",
        f"{1_000 * median(of('commit_s')):.2f}",
    ]  # fmt: skip


def repeat(deployment, count, limit):
    node, venue, begun = deployment.nodes[2], deployment.venue(), time.monotonic()
    for number in range(count):
        if time.monotonic() - begun > limit:
            say(f"ends after {number} restarts: {limit:.0f} s are over")
            return
        if number % 25 == 0:
            say(f"restart {number}")
        how = signal.SIGKILL if number % 2 else signal.SIGTERM
        stopped = node.stop(how)
        started = time.monotonic()
        node.start()
        node.wait_ready(60)
        ready = time.monotonic() - started
        client = Client(node.public)
        began = time.monotonic()
        status, headers, body = client.call("POST", f"{venue}/visits", GUEST)
        took = time.monotonic() - began
        if status != 201:
            raise RuntimeError(f"check-in after restart {number}: {status} {body.decode()}")
        receipt, written = json.loads(body), headers[TOKEN]
        path = f"{venue}/visits/{receipt['visit_id']}"
        status, headers, body = client.call("GET", path, headers={"Meridian-Secret": receipt["secret"]})
        if status != 200:
            raise RuntimeError(f"own record after restart {number}: {status} {body.decode()}")
        client.connection.close()
        samples = node.metrics()
        commits = samples["meridian_commit_seconds_count"]
        yield {
            "signal": how.name,
            "stop_s": stopped,
            "ready_s": ready,
            "check_in_s": took,
            "check_in_token": len(written),
            "check_in_origins": origins(written),
            "read_token": len(headers[TOKEN]),
            "read_origins": origins(headers[TOKEN]),
            "commits": commits,
            "commit_s": samples["meridian_commit_seconds_sum"] / commits if commits else 0.0,
            "rss_mib": node.memory()[0],
        }
