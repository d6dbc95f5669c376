"""Receives events of Countersign and posts each to Slack. Python 3.9 or later, nothing else.

    export DESK_SECRET=whsec_... SLACK_URL=https://hooks.slack.com/services/...
    python slack_receiver.py 8080

Put TLS in front where it does not run on the machine that sends.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from http.server import BaseHTTPRequestHandler, HTTPServer

TOLERANCE = 300  # seconds between the clocks
MOST = 1 << 16  # bytes of an event
KEY = base64.b64decode(os.environ["DESK_SECRET"].removeprefix("whsec_"))
SLACK_URL = os.environ["SLACK_URL"]
posted = deque(maxlen=1000)  # ids; an event may come twice


def is_genuine(headers, body):
    """Whether the sender knows the secret, and the message is new."""
    message_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdigit() or abs(time.time() - int(sent)) > TOLERANCE:
        return False
    signed = f"{message_id}.{sent}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(f"v1,{expected}", one) for one in given)


def text_of(event):
    """One line: `approval.wanted support-desk/3 (entry 41) https://...`"""
    data = event["data"]
    name = "/".join(data[key] for key in ("model", "version") if key in data)
    words = [event["type"], name, *data.get("codes", [])]
    words += [data[key] for key in ("code", "alias", "severity") if key in data]
    words += [f"(entry {data['entry']})" if "entry" in data else ""]
    words += [f"by {data['due']}" if "due" in data else "", data.get("link", "")]
    return " ".join(word for word in words if word)


class Handler(BaseHTTPRequestHandler):
    """Answers 204 when Slack has the message; otherwise Countersign sends it again."""

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length <= MOST else b""
        if not is_genuine(self.headers, body):
            self.answer(401)
        elif self.headers["webhook-id"] in posted:
            self.answer(204)
        else:
            status, pause = post(text_of(json.loads(body)))
            if status == 204:
                posted.append(self.headers["webhook-id"])
            self.answer(status, pause)

    def answer(self, status, pause=None):
        self.send_response(status)
        if pause:
            self.send_header("Retry-After", pause)
        self.send_header("Content-Length", "0")
        self.end_headers()


def post(text):
    """The status to answer, and how long Slack asks us to wait."""
    message = json.dumps({"text": text}).encode()
    request = urllib.request.Request(SLACK_URL, message, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10):
            return 204, None
    except urllib.error.HTTPError as error:
        return 503, error.headers.get("Retry-After")
    except OSError:
        return 503, None


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
