"""
Report to Docker whether the worker is alive. Any other command is healthy while it runs.
"""

from __future__ import annotations

import os
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

WORKER = 1  # process ID of the container's command


def main() -> int:
    """
    Return 0 if the worker's `/livez` reports that it is alive, otherwise 1.
    """
    process = sys.argv[1] if len(sys.argv) > 1 else WORKER
    port = os.environ.get("SYNCSVC_HTTP_PORT", "9464")
    if b"run" not in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0") or port == "0":
        return 0
    connection = HTTPConnection("127.0.0.1", int(port), timeout=4)  # ignores HTTP_PROXY
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    except (OSError, HTTPException) as exc:
        answer, said = None, str(exc)
    sys.stderr.write(f"/livez: {said}\n")
    return 0 if answer and answer.status == HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
