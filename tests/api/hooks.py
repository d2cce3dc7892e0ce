"""What schemathesis cannot read by itself."""

import json

import schemathesis

# Faults that take the node away from the other requests.
TOO_HARD = ["refuse-clients", "unready", "hang-clients", "clock-step", "slow-disk", "hung-disk", "full-disk"]


@schemathesis.deserializer("application/x-ndjson")
def last_line(context, response):
    """The line that says that the list is whole."""
    return json.loads(response.text.splitlines()[-1])


@schemathesis.hook
def filter_case(context, case):
    """Leaves such faults out."""
    act = case.body.get("act") if isinstance(case.body, dict) else None
    return not (isinstance(act, dict) and act.get("kind") in TOO_HARD)
