"""
How often is a walk's proof fooled, and would a second look at some pages notice?

Numbers are added and removed, as many of one as of the other, at random places
between the pages of a walk. The proof is fooled where it calls a walk complete
that misses a number which was there throughout. A second look, after the walk,
notices where a page no longer holds the numbers that were read from it.

    python tests/measurements/second_look.py --walks 2000
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from itertools import count

from syncsvc.payloads.records import Number, Page
from syncsvc.provider.thread_pool import ThreadPool
from syncsvc.provider.walk import Walk

LOOKS = {  # what is looked at again: its cost in requests
    "page 1": 1,
    "last": 1,
    "1 + last": 2,
    "middle": 1,
    "1 random": 1,
    "2 random": 2,
    "all": None,
}


class Listing:
    """
    A listing whose rows move between the pages of one walk.
    """

    def __init__(self, chance: random.Random, pages: int, length: int) -> None:
        self.rows = [number(index) for index in range(pages * length)]
        self.said: list[int] = []
        self.throughout = set(range(pages * length))
        self._chance = chance
        self._length = length
        self._names = count(pages * length)
        self._due: dict[int, list[bool]] = {}

    def plan(self, changes: int, pages: int, *, together: bool) -> None:
        """
        Let additions and removals come, each before some page, or in pairs before the same one.
        """
        for _ in range(changes):
            moment = self._chance.randint(2, pages)
            other = moment if together else self._chance.randint(2, pages)
            self._due.setdefault(moment, []).append(True)
            self._due.setdefault(other, []).append(False)

    def answer(self, index: int) -> Page:
        """
        Change as planned, then give the page.
        """
        due = self._due.pop(index, [])
        self._chance.shuffle(due)
        for adds in due:
            if adds:
                place = self._chance.randint(0, len(self.rows))
                self.rows.insert(place, number(next(self._names)))
            else:
                gone = self.rows.pop(self._chance.randrange(len(self.rows)))
                self.throughout.discard(int(gone.uuid))
        self.said.append(len(self.rows))
        return Page(rows=[*self.page(index)], num_results=len(self.rows), paginates=None)

    def page(self, index: int) -> list[Number]:
        """
        The rows on a page as of now.
        """
        return self.rows[(index - 1) * self._length : index * self._length]


known: dict[int, Number] = {}


def number(name: int) -> Number:
    """
    A number of which only the uuid matters.
    """
    if name not in known:
        blank = dict.fromkeys(Number.__struct_fields__)
        fields = {**blank, "uuid": str(name), "lifecycle": "live", "addresses": ()}
        known[name] = Number(**fields)  # type: ignore[arg-type]
    return known[name]


def looks(chance: random.Random, pages: int) -> dict[str, list[int]]:
    """
    The pages that each second look is at.
    """
    return {
        "page 1": [1],
        "last": [pages],
        "1 + last": [1, pages],
        "middle": [(pages + 1) // 2],
        "1 random": chance.sample(range(1, pages + 1), 1),
        "2 random": chance.sample(range(1, pages + 1), 2),
        "all": [*range(1, pages + 1)],
    }


def walk_once(
    listing: Listing, chance: random.Random, pool: ThreadPool, found: Counter[str]
) -> None:
    """
    Walk once, and count what the proof and the second looks make of it.
    """
    walk = Walk(listing.answer, pool, lambda: 60.0)
    read = [[row.uuid for row in page.rows] for page in walk]
    flat = [int(str(uuid)) for uuids in read for uuid in uuids]
    misses = bool(listing.throughout.difference(flat))
    by_two = len(set(flat)) == len(flat) == listing.said[0] == listing.said[-1]
    found["complete by two"] += by_two
    found["fooled by two"] += by_two and misses
    complete = walk.prove(len(set(flat))).complete
    found["complete"] += complete
    if not (complete and misses):
        return
    found["fooled"] += 1
    changed = {
        index
        for index, uuids in enumerate(read, 1)
        if uuids != [row.uuid for row in listing.page(index)]
    }
    for name, pages in looks(chance, len(read)).items():
        found[name] += not changed.isdisjoint(pages)


def measure(options: argparse.Namespace, changes: int, *, together: bool) -> Counter[str]:
    """
    Many walks over listings with as many changes each.
    """
    found: Counter[str] = Counter()
    chance = random.Random(f"{options.seed} {changes} {together}")  # noqa: S311 - no cryptography
    with ThreadPool(1) as pool:
        for _ in range(options.walks):
            listing = Listing(chance, options.pages, options.length)
            listing.plan(changes, options.pages, together=together)
            walk_once(listing, chance, pool, found)
    return found


def show(*cells: object) -> None:
    """
    Print one line of the table.
    """
    sys.stdout.write("".join(f"{cell!s:>10}" for cell in cells).rstrip() + "\n")


def share(part: int, whole: int) -> str:
    """
    A share in per cent.
    """
    return f"{100 * part / whole:.1f}%" if whole else "-"


def main() -> None:
    """
    Print, for more and more changes, how often the proof is fooled and what would notice.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--length", type=int, default=200, help="numbers on a page")
    parser.add_argument("--walks", type=int, default=1500, help="for each line of the table")
    parser.add_argument("--changes", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print_tables(options)


def print_tables(options: argparse.Namespace) -> None:
    """
    One table for changes each at their own time, and one for those that come in pairs.
    """
    costs = [cost or options.pages for cost in LOOKS.values()]
    for together in (False, True):
        kind = "in pairs at the same time" if together else "each at its own time"
        sys.stdout.write(
            f"\n{options.walks} walks over {options.pages} x {options.length} numbers; "
            f"k added and k removed, {kind}\n"
            "complete, fooled: shares of the walks, total compared on the first and last page (2) "
            "or on every page\nthe rest: share of the fooled ones that a second look notices\n"
        )
        show("k", "compl. 2", "fooled 2", "complete", "fooled", *LOOKS)
        show("requests", "", "", "", "", *(f"+{cost}" for cost in costs))
        for changes in options.changes:
            found = measure(options, changes, together=together)
            rules = ("complete by two", "fooled by two", "complete", "fooled")
            show(
                changes,
                *(share(found[rule], options.walks) for rule in rules),
                *(share(found[look], found["fooled"]) for look in LOOKS),
            )


if __name__ == "__main__":
    main()
