"""A token endpoint on loopback: `provider.py PORT`. Its tokens live ten seconds."""

import http.server
import json
import sys


class Provider(http.server.BaseHTTPRequestHandler):
    issued = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Provider.issued += 1
        token = {"access_token": f"token-{Provider.issued}", "expires_in": 10}
        body = json.dumps(token).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
