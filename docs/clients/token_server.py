"""A client of token-server that needs nothing but Python's own library."""

import json
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

KEEP_S = 60  # A token that was replaced before its time is used for no longer.


class TokenServer:
    def __init__(self, base, api_key):
        self.base, self.api_key, self.held = base, api_key, {}

    def ask(self, path, body=None):
        """Opens an answer; waits out a 503 three times."""
        headers = {"Authorization": "Bearer " + self.api_key, "Content-Type": "application/json"}
        body = json.dumps(body).encode() if body else None
        for tries_left in (3, 2, 1, 0):
            try:
                request = urllib.request.Request(self.base + path, body, headers)
                return urllib.request.urlopen(request, timeout=20)
            except urllib.error.HTTPError as error:
                if error.code != 503 or not tries_left:
                    raise RuntimeError(json.load(error)["detail"]) from error
                time.sleep(min(int(error.headers["Retry-After"]), 30))

    def keep(self, name, held):
        # For a minute at most, and for half of the time that it is valid.
        held["fresh_until"] = time.monotonic() + min(KEEP_S, held["expires_in"] / 2000)
        self.held[name["realm"], name["key"]] = held
        return held

    def token(self, **name):
        held = self.held.get((name["realm"], name["key"]))
        if held and time.monotonic() < held["fresh_until"]:
            return held
        return self.keep(name, json.load(self.ask("/api/token?" + urlencode(name))))

    def with_token(self, call, **name):
        """Calls the provider; once more, with another token, where it refuses this one."""
        held = self.token(**name)
        refused, result = call(held["token"])
        if refused:
            report = {**name, "generation": held["generation"]}
            held = self.keep(name, json.load(self.ask("/api/token/report", report)))
            refused, result = call(held["token"])
        return result

    def watch(self, **name):
        """Each token as it comes; to be called again when it ends."""
        query = urlencode({**name, "include": "token"})
        with self.ask("/api/token/watch?" + query) as events:
            for line in events:
                if line.startswith(b"data: "):
                    yield self.keep(name, json.loads(line[6:]))
