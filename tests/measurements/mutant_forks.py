"""
Run tests against one mutant after another, each in a fork of one pytest process.
"""

from __future__ import annotations

import gc
import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.sharedctypes import RawArray
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

ALIVE, KILLED, HUNG, UNREACHED = "alive", "killed", "hung", "unreached"
OUTCOMES = {0: ALIVE, 1: KILLED, 2: HUNG}  # by the code with which a process exits
SLOWER = 10  # a test that takes this many times longer than without a mutant hangs
AT_LEAST = 5  # seconds; short tests vary more
NOT_FORKED = ("shared_sandbox", "postgresql_database")  # fixtures that each process makes itself


class Calls:
    """
    Which tests call each function that has mutants, and how long each test takes.
    """

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._seconds: dict[int, float] = {}
        self._of: defaultdict[str, set[int]] = defaultdict(set)
        self._kills = RawArray("i", len(session.items))  # shared with the mutants' processes

    def observe(self) -> None:
        """
        Run the tests without a mutant.
        """
        trampoline: Any = import_module("mutmut.mutation.trampoline")
        asked = trampoline.get_mutant_under_test
        trampoline.get_mutant_under_test = lambda: "stats"
        for number in range(len(self._session.items)):
            trampoline.record_trampoline_hit = lambda name, n=number, **_: self._of[name].add(n)
            began = monotonic()
            self._run(number)
            self._seconds[number] = monotonic() - began
        trampoline.get_mutant_under_test = asked

    def tests(self, mutant: str, most: int | None) -> list[int]:
        """
        The tests that call a mutant's function: two short ones, then those that kill most in time.
        """

        def rank(number: int) -> tuple[float, float]:
            kills: int = self._kills[number]
            return -kills / self._seconds[number], random.random()  # noqa: S311

        found = sorted(self._of[mutant.rpartition("__mutmut_")[0]], key=self._seconds.__getitem__)
        return [*found[:2], *sorted(found[2:], key=rank)][:most]

    def that_failed(self) -> list[int]:
        """
        The tests that killed a mutant.
        """
        return [number for number, kills in enumerate(self._kills) if kills]

    def all_pass(self, tests: Sequence[int]) -> bool:
        """
        Run these tests until one fails; one that hangs ends the process.
        """
        for number in tests:
            limit = Timer(AT_LEAST + SLOWER * self._seconds[number], os._exit, (2,))
            limit.daemon = True
            limit.start()
            self._run(number)
            limit.cancel()
            if self._session.testsfailed:
                self._kills[number] += 1
                return False
        return True

    def _run(self, number: int) -> None:
        """
        Run a test and tear its own fixtures down, but not those of the session.
        """
        # Each test builds its statements itself, so that their builders are known to be called.
        import_module("syncsvc.reconcile.statement_cache").BUILT.clear()
        item = self._session.items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=self._session)


@dataclass(eq=False)  # pytest hashes its plugins
class Forks:
    """
    A pytest plugin that runs the tests once, then again in a fork for each mutant.

    What was imported, collected and cached by then, a mutant's process need not do again.

    Attributes:
        most: Tests to run for one mutant; None is all that call its function.
        workers: Mutants to try at the same time.
        report: Is given each mutant and its outcome.
    """

    mutants: list[str]
    most: int | None
    workers: int
    report: Callable[[str, str], None]
    _not_forked: list[pytest.FixtureDef[Any]] = field(default_factory=list)
    _kept: list[Any] = field(default_factory=list)

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """
        Note the fixtures that each process has to set up itself.
        """
        if fixturedef.argname in NOT_FORKED:
            self._not_forked.append(fixturedef)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """
        Run the tests without a mutant, and if they pass, with each.
        """
        calls = Calls(session)
        calls.observe()
        if session.testsfailed:
            raise session.Interrupted("The tests fail without a mutant.")
        gc.collect()
        gc.freeze()  # what does not change is not copied for each process
        running = dict[int, str]()
        for mutant in self.mutants:
            tests = calls.tests(mutant, self.most)
            if tests:
                running[self._start(calls, mutant, tests)] = mutant
            else:
                self.report(mutant, UNREACHED)
            if len(running) == self.workers:
                self._reap(running)
        while running:
            self._reap(running)
        self._start(calls, "", calls.that_failed())
        if os.wait()[1]:
            raise session.Interrupted("The tests fail in a fork without a mutant, too.")
        return True

    def _start(self, calls: Calls, mutant: str, tests: Sequence[int]) -> int:
        """
        Run these tests with this mutant in another process.
        """
        pid = os.fork()
        if pid:
            return pid
        code = 3
        try:
            os.environ["MUTANT_UNDER_TEST"] = mutant
            for fixture in self._not_forked:
                fixture.cached_result = None
                # The parent's fixture is torn down by the parent alone, not even collected here.
                self._kept += fixture._finalizers  # noqa: SLF001
                fixture._finalizers.clear()  # noqa: SLF001
            code = 0 if calls.all_pass(tests) else 1
        finally:
            os._exit(code)

    def _reap(self, running: dict[int, str]) -> None:
        """
        Wait for a process and report its mutant.
        """
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        self.report(running.pop(pid), OUTCOMES.get(code, f"broken ({code})"))
