"""The process that serves Swagger UI: a handful of files, read once, on 127.0.0.1.

It uses the standard library alone. It reads its files first and then gives up root's rights, so
that they may lie where the account that it goes on as can't look.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OWN = ("index.html", "browse.js")
PACKAGE = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".json": "application/json",
}


def main(config: Path) -> None:
    """Serve what `config` (docs.json) names until a signal ends it."""
    wanted = json.loads(config.read_text(encoding="utf-8"))
    folders = {name: Path(__file__).parent for name in OWN}
    folders |= {name: Path(wanted["package"]) for name in PACKAGE}
    files = {f"/{name}": (folder / name).read_bytes() for name, folder in folders.items()}
    files["/"] = files.pop("/index.html")
    files["/config.json"] = json.dumps(
        {"restUrl": wanted["rest_url"], **wanted["amendment"]}
    ).encode()
    policy = (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        f" connect-src 'self' {wanted['rest_url']}"
    )

    class Handler(BaseHTTPRequestHandler):
        """Answers from `files`."""

        def do_GET(self) -> None:
            """Send the file, or 404."""
            path = self.path.split("?")[0]
            body = files.get(path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", TYPES.get(Path(path).suffix, TYPES[".html"]))
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Only errors are logged."""

    server = ThreadingHTTPServer(("127.0.0.1", wanted["port"]), Handler)
    if os.geteuid() != wanted["uid"]:
        os.setgroups([])
        os.setgid(wanted["gid"])
        os.setuid(wanted["uid"])
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
