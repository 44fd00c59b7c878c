"""A service that refuses every third request."""

import itertools
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

count = itertools.count(1)


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        ok = next(count) % 3
        self.send_response(200 if ok else 503)
        self.end_headers()
        self.wfile.write(f"hello {self.client_address[0]}\n".encode() if ok else b"try again\n")

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("10.77.0.2", 80), Shop).serve_forever()
