"""
A day of a fleet in simulated time, under the policy that is shipped.

Whatever decides is the service's own: `share_out` chooses who is handed out, `after_run` says when
and in which lane an account runs next, `fleet_deadline` ends a run, `HostBreaker` fails runs of a
dead host. Simulated are time, the provider, and the CPU of each worker, which its runs share one
after the other.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from syncsvc.errors import HostDown
from syncsvc.fleet.tasks.fair_share import Due, share_out
from syncsvc.fleet.tasks.task_engine import STALLED_AFTER
from syncsvc.fleet.worker import HAND_OUT_EVERY, HAND_OUT_PAUSE, RESCUE_EVERY, RUNS_END
from syncsvc.provider.client import FIRST_BACKOFF, LONGEST_BACKOFF
from syncsvc.provider.http.host_breaker import HostBreaker
from syncsvc.sync.next_due import EndedRun, Ending, Schedule, Standing, after_run, fleet_deadline
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
PAGE_SIZE, IN_FLIGHT = 200, 4
SLOTS = {Lane.FAST: 6, Lane.SLOW: 2}
TIMEOUT, RETRIES = 30.0, 5  # SYNCSVC_API_TIMEOUT and SYNCSVC_API_RETRIES
LONGEST_RUN = timedelta(hours=1)  # SYNCSVC_RUN_DEADLINE
START = 3.0  # seconds that a worker takes to start


class Costs(NamedTuple):
    """
    What a run without changes takes, as measured: seconds, and seconds for each number.

    Attributes:
        page: Seconds until the provider answers.
    """

    client: tuple[float, float]
    server: tuple[float, float]
    page: float


class Started(NamedTuple):
    """
    A run that has begun: when, and how many seconds after it was due.
    """

    at: float
    lag: float
    host: int


class Account(msgspec.Struct):
    """
    An account, and how it stands.
    """

    name: int
    host: int
    numbers: int
    due_at: float
    standing: Standing = Standing()
    last_seconds: float | None = None


class Run(msgspec.Struct):
    """
    A run under way.
    """

    account: Account
    lane: Lane
    began_at: float
    attempts: int = 0
    lost: bool = False


class Worker:
    """
    One process: its slots, its core, and what it knows of each host.
    """

    def __init__(self, clock: Callable[[], float], hosts: int) -> None:
        """
        Begin with nothing to do.
        """
        self.alive = True
        self.runs: list[Run] = []
        self.core_free_at = 0.0
        self.busy = 0.0
        self.handed_out_at = -HAND_OUT_EVERY
        self.next_hand_out = 0.0
        self.breakers = [HostBreaker(str(host), clock) for host in range(hosts)]

    def in_use(self, lane: Lane) -> Counter[str]:
        """
        Slots in use, by host.
        """
        return Counter(str(run.account.host) for run in self.runs if run.lane == lane)


class Day:
    """
    Accounts, workers and what happens to them.

    Args:
        sizes: The numbers of each account; its place decides its host.
        dead: From when until when which host does not answer.
    """

    def __init__(
        self,
        costs: Costs,
        sizes: Iterable[int],
        workers: int,
        hosts: int = 20,
        interval: float = 900.0,
        dead: tuple[float, float, int] = (0.0, 0.0, -1),
    ) -> None:
        """
        Spread the accounts over the first interval.
        """
        self.now = 0.0
        self.costs = costs
        self.schedule = Schedule(timedelta(seconds=interval))
        self.started: list[Started] = []
        self.endings: Counter[Ending] = Counter()
        self._dead_from, self._dead_until, self._dead_host = dead
        self._hosts = hosts
        self._ids = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: dict[Lane, dict[int, list[tuple[float, int, Account]]]] = {
            lane: defaultdict(list) for lane in Lane
        }
        self.workers = [Worker(lambda: self.now, hosts) for _ in range(workers)]
        every = list(sizes)
        for place, numbers in enumerate(every):
            account = Account(place, place % hosts, numbers, interval * place / len(every))
            self.at(account.due_at, lambda account=account: self._due(account))  # type: ignore[misc]
        for worker in self.workers:
            self._plan_hand_out(worker, 0.0)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """
        Let something happen at a time.
        """
        heapq.heappush(self._events, (when, next(self._ids), what))

    def live_until(self, end: float) -> None:
        """
        Let everything happen up to a time.
        """
        while self._events[0][0] <= end:
            self.now, _id, what = heapq.heappop(self._events)
            what()
        self.now = end

    def waiting(self) -> int:
        """
        How many accounts are due and have no slot.
        """
        return sum(len(rows) for lane in self._waiting.values() for rows in lane.values())

    def lose(self, worker: Worker, until: float) -> None:
        """
        Kill a worker; others rescue its accounts, and another one takes its place in the end.
        """
        worker.alive = False
        found_at = self.now + STALLED_AFTER + RESCUE_EVERY
        self._give_back(worker, found_at)
        self.at(until, lambda: self._start(worker))

    def restart(self, worker: Worker) -> None:
        """
        Stop a worker as a deploy does: no further runs, 10 s for those under way, then a new one.
        """
        worker.alive = False

        def end() -> None:
            self._give_back(worker, self.now)
            self.at(self.now + START, lambda: self._start(worker))

        self.at(self.now + RUNS_END, end)

    def _start(self, worker: Worker) -> None:
        fresh = Worker(lambda: self.now, self._hosts)
        worker.alive, worker.breakers, worker.core_free_at = True, fresh.breakers, self.now
        self._plan_hand_out(worker, self.now)

    def _give_back(self, worker: Worker, when: float) -> None:
        """
        Let the accounts of a worker that has ended be due again.
        """
        for run in worker.runs:
            run.lost = True
            run.account.due_at = when
            self.at(when, lambda account=run.account: self._due(account))  # type: ignore[misc]
        worker.runs = []

    def _due(self, account: Account) -> None:
        rows = self._waiting[account.standing.lane][account.host]
        heapq.heappush(rows, (account.due_at, account.name, account))

    def _plan_hand_out(self, worker: Worker, when: float) -> None:
        worker.next_hand_out = when
        self.at(when, lambda: self._hand_out(worker, when))

    def _hand_out(self, worker: Worker, planned: float) -> None:
        """
        Fill the free slots of a worker; again when one becomes free, or in 2 s.
        """
        if not worker.alive or planned != worker.next_hand_out:
            return
        worker.handed_out_at = self.now
        for lane, slots in SLOTS.items():
            in_use = worker.in_use(lane)
            free = slots - in_use.total()
            if free > 0 and any(self._waiting[lane].values()):
                for due in share_out(self._oldest(lane, free), free, slots, in_use):
                    rows = self._waiting[lane][int(due.host)]
                    self._begin(worker, lane, heapq.heappop(rows)[2])
        self._plan_hand_out(worker, self.now + HAND_OUT_PAUSE + HAND_OUT_EVERY)

    def _oldest(self, lane: Lane, free: int) -> list[Due]:
        """
        The due accounts of a lane, oldest first, and of each host no more than can be taken.
        """
        rows = [row for host in self._waiting[lane].values() for row in heapq.nsmallest(free, host)]
        return [Due(str(row[1]), str(row[2].host), lane) for row in sorted(rows)]

    def _begin(self, worker: Worker, lane: Lane, account: Account) -> None:
        self.started.append(Started(self.now, self.now - account.due_at, account.host))
        run = Run(account, lane, self.now)
        worker.runs.append(run)
        self._ask(worker, run)

    def _ask(self, worker: Worker, run: Run) -> None:
        """
        Request the first page, unless the breaker refuses it.
        """
        if run.lost:
            return
        host = run.account.host
        try:
            worker.breakers[host].admit()
        except HostDown:
            self._end(worker, run, Ending.UNAVAILABLE)
            return
        if host == self._dead_host and self._dead_from <= self.now < self._dead_until:
            self.at(self.now + TIMEOUT, lambda: self._no_answer(worker, run))
            return
        worker.breakers[host].record(answered=True)
        pages = run.account.numbers / PAGE_SIZE + 2
        read_at = self.now + (pages / IN_FLIGHT + 1) * self.costs.page
        self.at(read_at, lambda: self._work(worker, run))

    def _no_answer(self, worker: Worker, run: Run) -> None:
        worker.breakers[run.account.host].record(answered=False)
        run.attempts += 1
        if run.attempts > RETRIES:
            self._end(worker, run, Ending.UNAVAILABLE)
            return
        wait = min(FIRST_BACKOFF * 2 ** (run.attempts - 1), LONGEST_BACKOFF)
        self.at(self.now + wait, lambda: self._ask(worker, run))

    def _work(self, worker: Worker, run: Run) -> None:
        """
        Take the worker's core for as long as the run needs it, after the runs before it.
        """
        numbers = run.account.numbers
        needed = self.costs.client[0] + self.costs.client[1] * numbers
        worker.core_free_at = max(worker.core_free_at, self.now) + needed
        worker.busy += needed
        server = self.costs.server[0] + self.costs.server[1] * numbers
        self.at(worker.core_free_at + server, lambda: self._end(worker, run, Ending.PUBLISHED))

    def _end(self, worker: Worker, run: Run, ending: Ending) -> None:
        if run.lost:
            return
        account, seconds = run.account, self.now - run.began_at
        if seconds > fleet_deadline(LONGEST_RUN, account.last_seconds).total_seconds():
            ending = Ending.OUT_OF_TIME
        self.endings[ending] += 1
        error = None if ending is Ending.PUBLISHED else "It failed."
        ended = EndedRun(ending=ending, seconds=seconds, error=error)
        moment = MIDNIGHT + timedelta(seconds=self.now)
        account.standing = after_run(account.standing, ended, self.schedule, moment)
        account.last_seconds = seconds
        assert account.standing.next_run_at is not None
        account.due_at = (account.standing.next_run_at - MIDNIGHT).total_seconds()
        self.at(account.due_at, lambda: self._due(account))
        worker.runs.remove(run)
        if worker.alive:
            self._plan_hand_out(worker, max(self.now, worker.handed_out_at + HAND_OUT_PAUSE))
