"""Guests who check in one after the other at one address, each at a set moment, and the outcomes that they saw."""

import http.client
import threading
import time

from harness import GUEST, Client, quantile


class Guests:
    """Check-ins at one address, `rate` a second, over two connections, from `with` to its end.

    Each latency counts from the moment at which the check-in was due, so a server that stalls is charged for all that
    would have come meanwhile.
    """

    def __init__(self, address, venue, rate=40, headers=()):
        self.address, self.path, self.rate, self.headers = address, f"{venue}/visits", rate, headers
        self.noted, self.stopped = [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(2)]

    def __enter__(self):
        self.begun = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)

    def run(self, number):
        client = Client(self.address)
        while True:
            due = self.begun + number / self.rate
            number += len(self.threads)
            if self.stopped.wait(max(0, due - time.monotonic())):
                return
            try:
                status, _, body = client.call("POST", self.path, GUEST, self.headers)
                outcome = status if status == 201 else f"{status} {body[:200].decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
            self.noted.append((due, time.monotonic() - due, outcome))

    def between(self, begin, end):
        """Figures of the check-ins that were due between two moments."""
        noted = [one for one in self.noted if begin <= one[0] < end]
        good = [1_000 * latency for _, latency, outcome in noted if outcome == 201]
        failures = {}
        for *_, outcome in noted:
            if outcome != 201:
                failures[outcome] = failures.get(outcome, 0) + 1
        return {
            "acknowledged": len(good),
            "failed": sum(failures.values()),
            "failures": failures,
            "p50_ms": quantile(good, 0.5),
            "p99_ms": quantile(good, 0.99),
            "max_ms": max(good, default=float("nan")),
        }
