"""
One load, of a peer or of syncsvc, watched from outside; and whether the rows are there.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from bench_pages import NUMBERS_OF_OFFICE, PAGE_SIZE
from bench_rig import HERE, requests_of
from sqlalchemy import make_url, text

from syncsvc.database import engine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench_rig import Database, Figures
    from peers_catalogue import Peer

SECONDS_BETWEEN_LOOKS = 0.2  # often enough for workers that live for seconds
CHARGE_CENTS = 30


def load_syncsvc(database: Database, api: str, url: str) -> Figures:
    """
    One sync, as `syncsvc sync` does it.
    """
    command = [sys.executable, str(HERE / "bench_tasks.py"), "sync", api, url]
    figures = _costed(database, api, url, command)
    if figures["result"]["state"] == "failed":
        raise RuntimeError(figures["result"]["error"])
    return figures


def load_peer(
    peer: Peer, database: Database, api: str, url: str, *, python: Path, state: Path
) -> Figures:
    """
    One load by a peer, which keeps what it remembers of its loads in a directory.
    """
    command = [str(python if peer.own_environment else sys.executable), str(HERE / peer.script)]
    to = [api, _plain(url), str(state)] if peer.own_environment else [api, url]
    settings = peer.settings | {"DLT_DATA_DIR": str(state), "HOME": str(state)}
    return _costed(database, api, url, [*command, *peer.arguments, *to], settings, state)


def with_keys(peer: Peer, database: Database, url: str, load: Figures) -> Figures:
    """
    What a load and the keys and indexes that syncsvc's tables have took together.
    """
    cpu, began_at = database.cpu(), time.perf_counter()
    with engine.open_engine(make_url(url)).begin() as connection:
        for statement in peer.keys:
            connection.execute(text(statement))
    return {
        "wall": load["wall"] + time.perf_counter() - began_at,
        "cpu": load["cpu"],
        "server_cpu": load["server_cpu"] + database.cpu() - cpu,
    }


def check(peer: Peer, url: str, size: int, figures: Figures) -> None:
    """
    Fail unless the peer read every page, and its tables hold each number and address once.
    """
    pages = math.ceil(size / PAGE_SIZE)
    counted = "SELECT count(*), count(DISTINCT uuid), round(sum(monthly_charge) * 100) FROM "
    with engine.open_engine(make_url(url)).connect() as connection:
        numbers = connection.execute(text(counted + peer.numbers)).one()
        versions = connection.execute(text(f"SELECT count(*) FROM {peer.table}")).scalar_one()
        addresses = connection.execute(text(peer.addresses)).scalar_one()
    found = [figures["requests"], *map(int, numbers), versions, addresses]
    offices = math.ceil(size / NUMBERS_OF_OFFICE)
    expected = [pages, size, size, size * CHARGE_CENTS, size, offices * 2]
    if found != expected:
        raise RuntimeError(
            f"{peer.script} {' '.join(peer.arguments)} did other work than asked for: pages, "
            f"numbers, uuids, cents, versions and addresses are {found}, not {expected}"
        )


def _plain(url: str) -> str:
    """
    The URL as dlt wants it: a host and a password, though the socket's directory decides.
    """
    plain = make_url(url).set(drivername="postgresql", host="localhost", password="none")
    return plain.render_as_string(hide_password=False)


def _costed(
    database: Database,
    api: str,
    url: str,
    command: list[str],
    settings: Mapping[str, str] | None = None,
    place: Path | None = None,
) -> Figures:
    """
    What a process cost itself, the database server and the provider.
    """
    database.settle(url)
    wal, cpu, asked = database.written(url), database.cpu(), requests_of(api)["requests"]
    figures = watch(command, settings or {}, place)
    time.sleep(0.2)  # the session's end
    return figures | {
        "server_cpu": database.cpu() - cpu,
        "wal_bytes": database.written(url) - wal,
        "requests": requests_of(api)["requests"] - asked,
    }


def watch(command: list[str], settings: Mapping[str, str], place: Path | None) -> Figures:
    """
    The figures that a process prints; its memory is that of all processes that it started.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        most = 0.0
        with subprocess.Popen(
            command, stdout=out, stderr=err, env=os.environ | settings, cwd=place
        ) as process:
            while process.returncode is None:
                most = max(most, memory_of(process.pid))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_BETWEEN_LOOKS)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{err.read()[-4000:]}")
        figures: Figures = json.loads(out.read().splitlines()[-1])
    return figures | {"peak_mib": max(figures["peak_mib"], most)}


def memory_of(pid: int) -> float:
    """
    MiB that a process and its children have now; what they share is counted once.
    """
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_full_info().pss
    return total / 2**20
