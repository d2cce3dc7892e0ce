"""The requests of `run` besides those of schemathesis.

prepare.py BASE          makes two venues and two visits, and prints them as lines for a shell
prepare.py --fetch URL   prints what an operator gets
prepare.py --status URL  prints the status that a stranger gets
"""

import base64
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request


def ask(method, url, body=None, **headers):
    request = urllib.request.Request(url, body and json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    return urllib.request.urlopen(request).read().decode()


def visit(ms, secret):
    """The id of a check-in (see `putVisit` in the document)."""
    digest = hashlib.sha256(b"meridian visit" + ms.to_bytes(8, "big") + secret).digest()
    number = int.from_bytes(digest[:10], "big")
    first, rest = number >> 68, (number >> 6) & ((1 << 62) - 1)
    text = f"{ms << 80 | 8 << 76 | first << 64 | 2 << 62 | rest:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def prepare(base):
    venues = [json.loads(ask("POST", f"{base}/v1/venues", {"name": "Zum Test", "timezone": "Europe/Berlin"})) for _ in range(2)]
    ids, keys = [one["venue_id"] for one in venues], [one["owner_key"] for one in venues]
    secret, now = bytes(range(16)), int(time.time() * 1000)
    encoded = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    visits = [visit(now - ago, secret) for ago in range(2)]
    for one in visits:
        body = {"persons": [{"name": "Anna", "phone": "0711 1"}]}
        ask("PUT", f"{base}/v1/venues/{ids[0]}/visits/{one}", body, Meridian_Secret=encoded)
    print(f"export VENUE={ids[0]} OTHER_VENUE={ids[1]} OWNER_KEY={keys[0]} OTHER_KEY={keys[1]}")
    print(f"export VISIT={visits[0]} OTHER_VISIT={visits[1]} GUEST_SECRET={encoded}")


match sys.argv[1:]:
    case ["--fetch", url]:
        print(ask("GET", url, Authorization=f"Bearer {os.environ['OPERATOR_TOKEN']}"))
    case ["--status", url]:
        try:
            ask("GET", url)
            print(200)
        except urllib.error.HTTPError as error:
            print(error.code)
    case [base]:
        prepare(base)
