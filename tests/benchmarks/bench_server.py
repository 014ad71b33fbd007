"""
Serve prepared pages from a process of its own.

It parses no more of a request than the number of the page, and answers with a
slice of the file. `GET /requests` tells how many pages were asked for.

    python tests/benchmarks/bench_server.py FILE [SECONDS A PAGE [REQUESTS A SECOND]]
"""

from __future__ import annotations

import asyncio
import mmap
import re
import sys
from array import array
from pathlib import Path

PAGE = re.compile(rb"GET /api/numbers\?(?:[a-z_]+=[^&]*&)*page=(\d+)")
EMPTY = b'{"numbers":[],"num_results":0,"paginates":false}'
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
END = b"\r\n\r\n"


class Book:
    """
    The prepared pages.
    """

    def __init__(self, path: Path) -> None:
        self._offsets = array("Q")
        self._offsets.frombytes(path.with_suffix(".index").read_bytes())
        with path.open("rb") as pages:
            self._pages = memoryview(mmap.mmap(pages.fileno(), 0, access=mmap.ACCESS_READ))
        self.requests = self.refused = 0

    def answer(self, head: bytes) -> memoryview | bytes:
        """
        The body for a request's head.
        """
        if head.startswith(b"GET /requests"):
            return b'{"requests":%d,"refused":%d}' % (self.requests, self.refused)
        self.requests += 1
        match = PAGE.match(head)
        page = int(match[1]) if match and b"search=" not in head else len(self._offsets)
        if page >= len(self._offsets):
            return EMPTY
        return self._pages[self._offsets[page - 1] : self._offsets[page]]


class Limit:
    """
    So many requests a second, and as many at once as come in a tenth of one.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = self._burst = max(rate / 10, 1.0)
        self._at = 0.0

    def admits(self, now: float) -> bool:
        """
        Whether a request at this time is one of those allowed.
        """
        if not self._rate:
            return True
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._burst)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Connection(asyncio.Protocol):
    """
    One connection that stays open.
    """

    transport: asyncio.Transport

    def __init__(self, book: Book, seconds: float, limit: Limit) -> None:
        self._book = book
        self._seconds = seconds
        self._limit = limit
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Keep the way back.
        """
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Answer as soon as a head is whole; there are no bodies.
        """
        self._head += data
        while END in self._head:
            head, _, self._head = self._head.partition(END)
            loop = asyncio.get_running_loop()
            if head.startswith(b"GET /api") and not self._limit.admits(loop.time()):
                self._book.requests += 1
                self._book.refused += 1
                self.transport.write(REFUSED)
            elif self._seconds and head.startswith(b"GET /api"):
                loop.call_later(self._seconds, self._send, self._book.answer(head))
            else:
                self._send(self._book.answer(head))

    def _send(self, body: memoryview | bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.writelines([head % len(body), body])


async def serve(path: Path, seconds: float, rate: float) -> None:
    """
    Serve until told to stop; the first line printed is the address.
    """
    book, limit = Book(path), Limit(rate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(book, seconds, limit), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started it closes it


if __name__ == "__main__":
    name, *figures = sys.argv[1:]
    seconds, rate = (*map(float, figures), 0.0, 0.0)[:2]
    asyncio.run(serve(Path(name), seconds, rate))
