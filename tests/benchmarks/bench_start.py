"""
Seconds from the start of `syncsvc sync` to its first request.

    python tests/benchmarks/bench_start.py
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import make_url

from syncsvc.database import engine
from syncsvc.database.maintenance import migrate


def main() -> None:
    """
    Listen, start the command and wait for it to connect.
    """
    with (
        tempfile.TemporaryDirectory() as home,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        database = f"sqlite:///{home}/syncsvc.db"
        migrate.upgrade(engine.open_engine(make_url(database)))
        port = listener.getsockname()[1]
        environ = {
            "PATH": os.environ.get("PATH", ""),
            "SYNCSVC_API_URL": f"http://127.0.0.1:{port}",
            "SYNCSVC_API_TOKEN": "benchmark",
            "SYNCSVC_API_RETRIES": "0",
            "SYNCSVC_DATABASE_URL": database,
        }
        command = [str(Path(sys.executable).parent / "syncsvc"), "sync", "--json"]
        began_at = time.perf_counter()
        with subprocess.Popen(
            command, env=environ, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            connection, _address = listener.accept()
            wall = time.perf_counter() - began_at
            connection.close()
            process.terminate()
    sys.stdout.write(json.dumps({"wall": wall}) + "\n")


if __name__ == "__main__":
    main()
