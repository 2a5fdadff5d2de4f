"""The process that serves the files of Swagger UI on 127.0.0.1.

It uses the standard library only. It reads its files first and then changes from root to the
service user, because that user may have no access to them.
"""

import html
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
    """Serve the files that `config` (docs.json) lists, until a signal ends the process."""
    wanted = json.loads(config.read_text(encoding="utf-8"))
    folders = {name: Path(__file__).parent for name in OWN}
    folders |= {name: Path(wanted["package"]) for name in PACKAGE}
    files = {f"/{name}": (folder / name).read_bytes() for name, folder in folders.items()}
    page = files.pop("/index.html").decode()
    files["/"] = page.replace("{command}", html.escape(wanted["command"])).encode()
    files["/config.json"] = json.dumps(
        {"restUrl": wanted["rest_url"], **wanted["amendment"]}
    ).encode()
    policy = (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        f" connect-src 'self' {wanted['rest_url']}"
    )

    class Handler(BaseHTTPRequestHandler):
        """Serves `files`."""

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
            """Do nothing: only errors are logged."""

    server = ThreadingHTTPServer(("127.0.0.1", wanted["port"]), Handler)
    if os.geteuid() != wanted["uid"]:
        os.setgroups([])
        os.setgid(wanted["gid"])
        os.setuid(wanted["uid"])
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
