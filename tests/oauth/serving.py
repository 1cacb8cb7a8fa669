"""What both OAuth servers of the tests share: arguments, serving, and an end.

Usage: SERVER.py --port PORT --data DIRECTORY --access-token-ttl SECONDS

They listen on 127.0.0.1. All state is in an SQLite file of the directory, so a server that is
started again goes on where it was. A server exits when its standard input is closed, so that it
does not outlive the test process that started it.

Endpoints: POST /token, /introspect (RFC 7662), /revoke (RFC 7009), and for the tests, in JSON:
  POST /test/client  a client: client_id, client_secret, auth_method, grant_type, jwks
  POST /test/grant   {client_id}: a first refresh token, which a browser would get otherwise
  GET  /test/ready   200 once it serves
"""

import argparse
import os
import socketserver
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

# What clients may ask for. The introspection of django-oauth-toolkit has a scope, too.
SCOPES = ["read", "introspection"]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--access-token-ttl", type=int, required=True)
    return parser.parse_args()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        # No name is looked up.
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def serve(app, port):
    """Serves until standard input is closed. One request at a time: the store is one file."""
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    one_at_a_time = threading.Lock()

    def alone(environ, start_response):
        with one_at_a_time:
            answer = app(environ, start_response)
            try:
                return [b"".join(answer)]
            finally:
                close = getattr(answer, "close", None)
                if close:
                    close()

    make_server("127.0.0.1", port, alone, _Server, _Handler).serve_forever()


def _end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)
