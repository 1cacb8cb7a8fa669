"""Renews what is due, on a frozen server: a timer of the platform invokes this function, which calls
POST /api/renewal/run and waits for its answer. It needs:

    TOKEN_SERVER_URL     where the server is, such as https://server.example
    TOKEN_SERVER_KEY     an API key with the scope token:flush, without limits
    RENEWAL_TIMEOUT_S    no attempt begins later than so many seconds after the call

An invocation fails where a token was not renewed, so that the platform's alarms see it.
"""

import json
import os
import urllib.request

# The last attempts have begun by then, and the server waits for them and for late answers, within
# http.request_timeout_s.
ENDS_WITHIN_S = 25


def handler(event, context):
    """What Function Compute invokes."""
    timeout_s = int(os.environ["RENEWAL_TIMEOUT_S"])
    url = f"{os.environ['TOKEN_SERVER_URL'].rstrip('/')}/api/renewal/run?timeout_s={timeout_s}"
    headers = {"Authorization": f"Bearer {os.environ['TOKEN_SERVER_KEY']}"}
    request = urllib.request.Request(url, data=b"", headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=timeout_s + ENDS_WITHIN_S) as answer:
        run = json.load(answer)["data"]
    print(json.dumps(run))
    not_renewed = sum(run[count] for count in ("failed", "discarded", "waiting", "left"))
    if not_renewed:
        raise RuntimeError(f"{not_renewed} tokens were not renewed: {json.dumps(run)}")
    return run


# What SCF invokes.
main_handler = handler
