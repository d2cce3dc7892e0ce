"""A region with an empty store joins two that hold many documents, while guests check in through the edge.

First the region is stopped and its store removed, and documents are written to the two others as fast as they take
them. Then it starts; guests of all continents check in at the router without repeating anything, so every failure is
one that a guest would see.
"""

import os
import shutil
import time

from harness import Deployment, load_result, say, table, until


def options(parser):
    parser.add_argument("--engines", nargs="+", default=["sled"])
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--minutes", type=float, default=10, help="of loading at most")
    parser.add_argument("--rate", type=int, default=50, help="check-ins a second through the edge meanwhile")
    parser.add_argument("--limit", type=float, default=15, help="minutes that the region may take")
    parser.add_argument("--after", type=float, default=15, help="seconds of guests after it is complete")


def measure(args):
    out, rows, holds = [], [], True
    for engine in args.engines:
        say(f"join: {engine}")
        with Deployment(args.meridian, engine) as deployment:
            found = one(deployment, args)
        out.append({"engine": engine, **found})
        holds &= found["failed"] == 0 and found["is_equal"]
        rows.append([
            engine, found["documents"], f"{found['loaded_per_s']:.0f}", found["check_ins"], found["failed"],
            f"{found['p50_ms']:.1f}", f"{found['p99_ms']:.1f}", f"{found['answers_s']:.1f}",
            f"{found['ready_s']:.1f}", f"{found['complete_s']:.1f}", f"{found['rss_mib']:.0f}",
            f"{found['peak_mib']:.0f}", f"{found['senders_peak_mib']:.0f}", "yes" if found["is_equal"] else "NO",
        ])  # fmt: skip
        for failure in found["failures"]:
            print(f"failed: {failure}")
    print("\nan empty region joins; check-ins through the edge (ms), seconds until it is ready and complete, MiB")
    header = ["engine", "documents", "loaded/s", "check-ins", "failed", "p50", "p99", "answers s", "ready s"]
    table([*header, "complete s", "RSS", "peak", "senders' peak", "equal"], rows)
    return out, holds


def one(deployment, args):
    holders, joins = deployment.nodes[:2], deployment.nodes[2]
    joins.stop()
    shutil.rmtree(os.path.join(joins.folder, "store"))
    targets = ",".join(node.url for node in holders)
    loaded = deployment.load(
        "--max", "--connections", 64, "--visits", args.documents, "--duration", f"{60 * args.minutes:.0f}s",
        "--venues", 64, "--no-verify", targets=targets, limit=60 * args.minutes + 120,
    )  # fmt: skip
    until("the holders agree", 120, lambda: len(set(deployment.live()[:2])) == 1)
    documents = deployment.live()[0]
    say(f"{documents} documents in each of two regions, {loaded['check_ins_per_s']:.0f}/s")

    # Guests of Germany, America and Singapore, with addresses that the country database knows.
    guests = deployment.start_load(
        "--rate", args.rate, "--connections", 24, "--duration", f"{60 * args.limit + 120:.0f}s", "--no-verify",
        "--from", "46.4.0.1,8.8.8.8,202.156.0.1", targets=deployment.edge,
    )  # fmt: skip
    time.sleep(5)
    began = time.monotonic()
    joins.start()
    marks = {}

    def mark(name, holds):
        if name not in marks and holds:
            marks[name] = time.monotonic() - began
            say(f"{name} after {marks[name]:.1f} s")

    progress = []
    while "complete" not in marks:
        state = joins.status()
        live = state.get("live_documents") or 0
        mark("answers", bool(state))
        mark("ready", state.get("ready"))
        mark("complete", live >= documents and live >= (holders[0].status().get("live_documents") or live) - args.rate)
        progress.append([time.monotonic() - began, live, state.get("reasons"), joins.memory()[0] if state else None])
        if time.monotonic() - began > 60 * args.limit:
            say(f"not complete within {args.limit} minutes: {state}")
            marks["complete"] = float("inf")
        time.sleep(0.25)
    if "ready" not in marks:
        joins.wait_ready(60)
        marks["ready"] = time.monotonic() - began
    time.sleep(args.after)
    # SIGINT ends the load like Ctrl-C: it reports its results so far.
    guests.send_signal(2)
    report = load_result(guests, 60)
    deployment.wait_complete(120)
    live, check_in = deployment.live(), report["operations"][0]
    taken = [node.metric("meridian_writes_total") for node in deployment.nodes]
    rss, peak = joins.memory()
    return {
        "documents": documents,
        "loaded_per_s": loaded["check_ins_per_s"],
        "check_ins": check_in["acknowledged"],
        "failed": check_in["failed"],
        "failures": report["failures"],
        "p50_ms": check_in["p50_ms"],
        "p99_ms": check_in["p99_ms"],
        "answers_s": marks["answers"],
        "ready_s": marks["ready"],
        "complete_s": marks["complete"],
        "live": live,
        # Every region has every acknowledged check-in, and also the venues of the load.
        "is_equal": len(set(live)) == 1 and live[0] >= documents + check_in["acknowledged"],
        "writes_taken": taken,
        "rss_mib": rss,
        "peak_mib": peak,
        "senders_peak_mib": max(node.memory()[1] for node in holders),
        "progress": progress,
    }
