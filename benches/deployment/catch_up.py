"""Check-ins at a region that comes back after others wrote many entries, and at the regions that send them to it.

Guests check in at every region at a steady rate: while nothing else happens, and from the restart until the region
lacks no entry. What it received is compared with what a region that was there all the time received for the same
entries, in frames of their own making.
"""

import http.client
import time

from guests import Guests
from harness import GUEST, Client, Deployment, say, table, until

IN = "meridian_replication_bytes_total"


def options(parser):
    parser.add_argument("--engines", nargs="+", default=["sled", "fjall"])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--normal", type=float, default=10, help="seconds of guests before")
    parser.add_argument("--limit", type=float, default=180, help="seconds that the catch-up may take")
    parser.add_argument("--aim", type=float, default=50, help="ms: exit with 1 if a p99 rises by more")


def measure(args):
    out, rows, sizes, holds = [], [], [], True
    for engine in args.engines:
        say(f"catch-up: {engine}")
        with Deployment(args.meridian, engine) as deployment:
            found = one(deployment, args)
        out.append({"engine": engine, **found})
        for region, phases in found["guests"].items():
            before, during = phases["before"], phases["during"]
            holds &= during["failed"] == 0 and during["p99_ms"] <= before["p99_ms"] + args.aim
            role = "comes back" if region == "ap-southeast" else "sends"
            row = [engine, region, role]
            for phase in (before, during):
                row += [phase["acknowledged"], phase["failed"], *(f"{phase[q]:.1f}" for q in ("p50_ms", "p99_ms"))]
            rows.append([*row, f"{during['max_ms']:.0f}"])
            for failure, count in during["failures"].items():
                print(f"failed at {region}, {engine}: {count} times {failure}")
        mib = [found["received_mib"][name] for name in ("eu-central", "us-east")]
        sizes.append([
            engine, found["entries"], f"{found['ready_s']:.1f}", f"{found['complete_s']:.1f}",
            *(f"{one:.1f}" for one in mib), f"{sum(mib):.1f}", f"{found['live_mib']:.1f}",
            f"{sum(mib) / found['live_mib']:.2f}", f"{sum(mib) * 2**20 / found['entries']:.0f}",
        ])  # fmt: skip
    print(f"\ncheck-ins ({args.entries} entries to catch up), ms")
    header = ["engine", "region", "", "before", "failed", "p50", "p99", "during", "failed", "p50", "p99", "max"]
    table(header, rows)
    print("\nwhat the region received, MiB; `log`: what the other two received from each other for the same entries")
    header = ["engine", "entries", "ready s", "complete s", "of eu-central", "of us-east", "sum", "log", "ratio"]
    table([*header, "B/entry"], sizes)
    return out, holds


def one(deployment, args):
    writers, late = deployment.nodes[:2], deployment.nodes[2]
    guests = {node.region: Guests(node.public, deployment.venue()) for node in deployment.nodes}
    deployment.load("--max", "--connections", 16, "--duration", "2s", "--no-verify")
    deployment.wait_complete(30)
    with guests[writers[0].region], guests[writers[1].region], guests[late.region]:
        time.sleep(args.normal)
    normal = {region: one.between(one.begun + 1, float("inf")) for region, one in guests.items()}
    deployment.wait_complete(30)

    late.stop()
    before = [node.metric(IN, 'direction="in"') for node in writers]
    targets = ",".join(node.url for node in writers)
    report = deployment.load(
        "--max", "--connections", 32, "--visits", args.entries, "--duration", "10m", "--no-verify", targets=targets
    )
    entries = report["operations"][0]["acknowledged"]
    until("the writers agree", 60, lambda: len(set(deployment.live()[:2])) == 1)
    live = sum(node.metric(IN, 'direction="in"') for node in writers) - sum(before)
    expected = deployment.live()[0]

    # Guests check in at the senders all the time, and at the late region as soon as it takes check-ins.
    guests = {node.region: Guests(node.public, deployment.venue()) for node in deployment.nodes}
    with guests[writers[0].region], guests[writers[1].region]:
        time.sleep(2)
        restarted = time.monotonic()
        late.start()
        answers = until("the region takes check-ins", 60, lambda: takes(late, deployment.venue()))
        say(f"takes check-ins after {answers - restarted:.2f} s")
        with guests[late.region]:
            ready, complete, progress = None, None, []
            while complete is None:
                state = late.status()
                now = time.monotonic()
                progress.append([now - restarted, state.get("live_documents")])
                if ready is None and state.get("ready"):
                    ready = now
                if (state.get("live_documents") or 0) >= expected:
                    complete = now
                if now - restarted > args.limit:
                    raise TimeoutError(f"not complete within {args.limit} s: {state}")
                time.sleep(0.05)
            received = {
                node.region: late.metric(IN, f'direction="in",peer="{node.region}"') / 2**20 for node in writers
            }
            late_ready = until("the region is ready", 60, lambda: late.is_ready() and time.monotonic())
            time.sleep(0.5)
    # Until the region was complete, but at least a second, because a shorter time would have few check-ins.
    end = max(complete, restarted + 1)
    during = {
        region: one.between(restarted if region != late.region else answers, end) for region, one in guests.items()
    }
    after = {region: one.between(end, float("inf")) for region, one in guests.items()}
    deployment.wait_complete(60)
    return {
        "entries": entries,
        "takes_s": answers - restarted,
        "ready_s": (ready or late_ready) - restarted,
        "complete_s": complete - restarted,
        "received_mib": received,
        "live_mib": live / 2**20,
        "progress": progress,
        "guests": {
            region: {"before": normal[region], "during": during[region], "after": after[region]} for region in guests
        },
    }


def takes(node, venue):
    """The moment at which the node takes a check-in. Before it, the node answers guests with 503."""
    try:
        return time.monotonic() if Client(node.public).call("POST", f"{venue}/visits", GUEST)[0] == 201 else None
    except (OSError, http.client.HTTPException):
        return None
