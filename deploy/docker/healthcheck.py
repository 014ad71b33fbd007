"""
Tell Docker whether the worker turns. Any other command is healthy while it lasts.
"""

from __future__ import annotations

import os
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

WORKER = 1  # its process, where the container was started with `run`


def main() -> int:
    """
    Ask the worker's `/livez`; 0 where it turns, 1 where it does not.
    """
    process = sys.argv[1] if len(sys.argv) > 1 else WORKER
    port = os.environ.get("SYNCSVC_HTTP_PORT", "9464")
    if b"run" not in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0") or port == "0":
        return 0
    connection = HTTPConnection("127.0.0.1", int(port), timeout=4)  # whatever proxy there is
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
