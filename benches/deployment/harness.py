"""A deployment of `meridian up` in a folder of its own, its processes, and the small tools that all measurements share.

Invariants:
- Every process that is ended was started here: `up` and its children, and the nodes started again by `start`.
- Every wait has a limit.
"""

import base64
import http.client
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICKS = os.sysconf("SC_CLK_TCK")
REGIONS = ["eu-central", "us-east", "ap-southeast"]
# Bytes before the vector in a session token.
CHECKSUM = 4


def say(*words):
    """Progress, beside the tables."""
    print(time.strftime("%H:%M:%S", time.gmtime()), *words, file=sys.stderr, flush=True)


def machine():
    """The machine on which the figures were measured."""
    return {"processors": os.cpu_count(), "load": os.getloadavg()[0], "kernel": os.uname().release}


def stolen():
    """Processor time (s) that the host has taken from this machine since boot."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) / TICKS


def table(header, rows):
    """Prints a table: the first column to the left, all others to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        print("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths))).rstrip())
    sys.stdout.flush()


def quantile(values, share):
    """The smallest value that `share` of all values do not exceed; NaN if there are none."""
    if not values:
        return float("nan")
    return sorted(values)[max(0, -(-int(len(values) * share * 1_000_000) // 1_000_000) - 1)]


def median(values):
    return statistics.median(values) if values else float("nan")


def until(what, limit, holds):
    """Asks again and again until something holds, and returns its value. Fails after `limit` seconds."""
    begun = time.monotonic()
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() - begun > limit:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(0.005)


def free_base():
    """The first of four ports in a row, below the ephemeral ones, that are free on all addresses of a deployment."""
    addresses = ["127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3"]
    for _ in range(1_000):
        base = random.randrange(12_000, 32_000)
        try:
            for address in addresses:
                for port in range(base, base + 4):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        with socket.socket(socket.AF_INET, kind) as probe:
                            probe.bind((address, port))
            return base
        except OSError:
            continue
    raise OSError("no four free ports in a row")


class Client:
    """One HTTP/1.1 connection, opened when needed and again after it broke."""

    def __init__(self, address, timeout=10):
        self.address, self.timeout, self.connection = address, timeout, None

    def call(self, method, path, body=None, headers=()):
        """Status, headers and body. Raises OSError or HTTPException if there is no answer."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=self.timeout)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = dict(headers)
        if body is not None:
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            self.connection.request(method, path, body, sent)
            answer = self.connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise


def ask(address, path):
    """The body of a successful GET, or None."""
    client = Client(address, timeout=5)
    try:
        status, _, body = client.call("GET", path)
        client.connection.close()
        return body if status == 200 else None
    except (OSError, http.client.HTTPException):
        return None


GUEST = {"persons": [{"name": "Zoë Müller", "phone": "+49 151 2345678", "city": "Berlin", "country": "DE"}]}


class Node:
    """One region's node."""

    def __init__(self, deployment, number):
        self.deployment, self.region = deployment, REGIONS[number]
        ip = f"127.0.1.{number + 1}"
        self.public, self.admin = (ip, deployment.base), (ip, deployment.base + 2)
        self.url = f"http://{ip}:{deployment.base}"
        self.folder = os.path.join(deployment.folder, self.region)
        self.own = None

    def pid(self):
        with open(os.path.join(self.folder, "pid")) as file:
            return int(file.read())

    def stop(self, how=signal.SIGTERM):
        """Ends the node and waits until it is gone. Returns how long that took."""
        begun, pid = time.monotonic(), self.pid()
        os.kill(pid, how)
        if self.own is not None:
            self.own.wait(30)
            self.own = None
        else:
            # The node is a child of `up`, which reaps it.
            until(f"{self.region} ends", 30, lambda: not os.path.exists(f"/proc/{pid}"))
        return time.monotonic() - begun

    def start(self):
        """Starts the node again, as a child of this process."""
        log = open(os.path.join(self.folder, "log"), "a")
        command = [self.deployment.binary, "node", "--exit-with-parent", "--config"]
        self.own = subprocess.Popen(
            [*command, os.path.join(self.folder, "node.toml")], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        log.close()

    def is_ready(self):
        if self.own is not None and self.own.poll() is not None:
            raise RuntimeError(f"{self.region} ended: {self.folder}/log")
        return ask(self.public, "/readyz") is not None

    def wait_ready(self, limit=60):
        """Waits until the node is fit to serve. Returns how long that took."""
        begun = time.monotonic()
        until(f"{self.region} is ready", limit, self.is_ready)
        return time.monotonic() - begun

    def status(self):
        return json.loads(ask(self.admin, "/v1/admin/status") or "{}")

    def metrics(self):
        """Every sample: {name with labels: value}."""
        lines = (ask(self.admin, "/metrics") or b"").decode().splitlines()
        return {key: float(value) for key, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}

    def metric(self, name, label=""):
        """The sum of a metric over all its labels, or over those that contain `label`."""
        samples = self.metrics().items()
        return sum(v for k, v in samples if k.split("{")[0] == name and label in k)

    def cpu(self):
        """Processor time (s) of its process."""
        return cpu_of(self.pid())

    def memory(self):
        """Resident memory (MiB): now, and the most since it started."""
        with open(f"/proc/{self.pid()}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Deployment:
    """Three regions and a router, all ready; a context manager that ends and removes everything."""

    def __init__(self, binary, engine, load_with=None):
        self.binary, self.engine, self.load_with = binary, engine, load_with or binary

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="meridian-bench-")
        self.folder = os.path.join(self.work, "deployment")
        self.base = free_base()
        self.edge = f"http://127.0.0.1:{self.base}"
        log = open(os.path.join(self.work, "up.log"), "w")
        self.up = subprocess.Popen(
            [self.binary, "up", "--data", self.folder, "--base-port", str(self.base), "--engine", self.engine],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        log.close()
        self.nodes = [Node(self, number) for number in range(len(REGIONS))]
        self.loads = []
        try:
            # The demo venue is the last thing that `up` waits for.
            until("the deployment is ready", 90, self.is_up)
            until("all links are up", 30, self.is_linked)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def is_up(self):
        with open(os.path.join(self.work, "up.log")) as file:
            text = file.read()
        if self.up.poll() is not None:
            raise RuntimeError(f"`up` ended: {text}")
        return os.path.exists(os.path.join(self.folder, "demo-venue.json")) and self.edge in text

    def is_linked(self):
        return all(sum(p["connected"] for p in n.status().get("peers", [])) == len(self.nodes) - 1 for n in self.nodes)

    def __exit__(self, kind, *_):
        for child in [*self.loads, *(node.own for node in self.nodes if node.own), self.up]:
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(40)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if kind in (None, KeyboardInterrupt):
            shutil.rmtree(self.work, ignore_errors=True)
        else:
            say(f"kept for a look: {self.work}")

    @property
    def urls(self):
        return ",".join(node.url for node in self.nodes)

    def server_pids(self):
        """All servers, the router last."""
        with open(os.path.join(self.folder, "router-1", "pid")) as file:
            return [*(node.pid() for node in self.nodes), int(file.read())]

    def cpu(self):
        """Processor time (s) of all servers."""
        return sum(map(cpu_of, self.server_pids()))

    def venue(self):
        """The path of the demo venue."""
        with open(os.path.join(self.folder, "demo-venue.json")) as file:
            return "/v1/venues/" + json.load(file)["venue_id"]

    def start_load(self, *options, targets=None):
        """Starts `meridian load`; `load_result` waits for it."""
        command = [self.load_with, "load", "--json", "--corrections", "0", "--erasures", "0", "--data", self.folder]
        load = subprocess.Popen(
            [*command, "--target", targets or self.urls, *map(str, options)], stdout=subprocess.PIPE, text=True
        )
        self.loads.append(load)
        return load

    def load(self, *options, targets=None, limit=900):
        """The report of `meridian load`."""
        return load_result(self.start_load(*options, targets=targets), limit)

    def live(self):
        """The number of documents in each region that answers."""
        return [node.status().get("live_documents") for node in self.nodes]

    def wait_complete(self, limit):
        """Waits until no region lacks an entry of another. Returns how long that took."""
        begun = time.monotonic()

        def complete():
            states = [node.status() for node in self.nodes]
            links = [peer for state in states for peer in state.get("peers", [{"connected": False}])]
            return all(p["connected"] and p["lag_entries"] == 0 for p in links) and len(
                {state["live_documents"] for state in states}
            ) == 1

        until("all regions are complete", limit, complete)
        return time.monotonic() - begun


def load_result(load, limit=900):
    out, _ = load.communicate(timeout=limit)
    if not out.strip():
        raise RuntimeError(f"`meridian load` failed with {load.returncode}")
    return json.loads(out)


def origins(token):
    """The number of origins in a `Meridian-Session`: 4 bytes of checksum, then the length of the vector as a varint."""
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[CHECKSUM:]
    count, shift = 0, 0
    for byte in data:
        count |= (byte & 127) << shift
        if byte < 128:
            return count
        shift += 7
    raise ValueError("not a session token")

