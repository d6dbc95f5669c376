"""A process that searches texts for tests: an `@` is an address. It takes milliseconds to start."""

from __future__ import annotations

import sys

from governance.policy.data import EntityPolicy, PiiPolicy
from governance.proxy.searching import Searching

PLANTED = "zq7x@example.org"
SCRIPT = """
import json, sys
lines = iter(sys.stdin)
assert json.loads(next(lines))["default"]
print(sys.argv[1], flush=True)
for line in lines:
    text = json.loads(line)
    if text == "end":
        sys.exit(1)
    found = {"EMAIL_ADDRESS": text.count("@")} if "@" in text else {}
    reply = {"entities": found, "holds": bool(found), "language": "en"}
    print("null" if text == "hard" else "x" if text == "odd" else json.dumps(reply), flush=True)
"""


def searching(said: list[str], most: int = 30, share: float = 0.5, ready: str = "{}") -> Searching:
    """The search by this process. A draw is 0.25: a `share` of more takes each answer."""
    command = (sys.executable, "-S", "-c", SCRIPT, ready)
    policy = PiiPolicy(default=EntityPolicy(action="redact"))
    return Searching(command, {}, policy, share, lambda: 0.25, said.append, most, 0.01)
