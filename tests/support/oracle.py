"""
The contract's table of history rows in plain Python, to hold the tables against.

It reads the provider's rows by itself and shares nothing with the service.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

Row = dict[str, Any]

TRACKED = (
    "lifecycle",
    "status",
    "monthly_charge",
    "setup_charge",
    "provisioned_at",
    "cancelled_at",
    "number_address_id",
    "emergency_number_address_id",
)
TEXTS = (
    "number_e164",
    "number",
    "range_code",
    "range_name",
    "country_code",
    "country_name",
    "country_iso",
)
NUMBER_KEYS = {
    *TEXTS,
    *("uuid", "monthly_charge", "setup_charge", "status", "details", "provisioned", "cancelled"),
    *("number_address", "emergency_number_address"),
}
DETAILS_KEYS = {
    *("status", "provisioned", "cancelled", "number_address", "emergency_number_address"),
}
ADDRESS_KEYS = {
    "name": "name",
    "useForProofOfAddress": "use_for_proof_of_address",
    "useForEmergencyAddress": "use_for_emergency_address",
    "addressLine1": "address_line1",
    "addressLine2": "address_line2",
    "addressCity": "address_city",
    "addressRegion": "address_region",
    "addressPostalCode": "address_postal_code",
}
ALPHA2 = {"UK": "GB", "GB": "GB", "IE": "IE"}
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SAID_OF_THE_END = ("status", "monthly_charge", "setup_charge", "cancelled_at")


class Unreadable(ValueError):
    """
    A row that is to be rejected.
    """


def plain(value: object) -> object:
    """
    A value as the column `changes` shows it.
    """
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Decimal():
            return f"{value:.4f}"
        case _:
            return value


def canonical(row: Row) -> str:
    """
    A row in one spelling, in which true is not 1.
    """
    return json.dumps({name: plain(value) for name, value in row.items()}, sort_keys=True)


def alike(one: object, other: object) -> bool:
    """
    Whether two values are the same one in a table.
    """
    return json.dumps(plain(one), sort_keys=True) == json.dumps(plain(other), sort_keys=True)


def differences(old: Row, new: Row) -> Row:
    """
    Every column that differs.
    """
    return {
        name: {"old": plain(old[name]), "new": plain(new[name])}
        for name in new
        if not alike(old[name], new[name])
    }


def moment(text: str | None) -> datetime | None:
    """
    A timestamp of the provider, in UTC.
    """
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def amount(value: object) -> Decimal | None:
    """
    A charge.
    """
    try:
        return None if value is None else Decimal(str(value)).quantize(Decimal("0.0001"))
    except InvalidOperation:
        raise Unreadable from None


def read_address(sent: Row) -> Row:
    """
    An address as the tables hold it.
    """
    country = sent.get("addressCountry") or {}
    unknown = set(sent) - set(ADDRESS_KEYS) - {"id", "addressCountry"}
    return {
        **{column: sent.get(key) for key, column in ADDRESS_KEYS.items()},
        "country_name": country.get("name"),
        "country_iso": country.get("iso"),
        "extra": {key: sent[key] for key in unknown} or None,
    }


def read_number(sent: Row) -> tuple[Row, dict[int, Row]]:
    """
    A number as its row shows it, cancelled if its status says so, and the addresses in the row.

    Raises:
        Unreadable: It is to be rejected.
    """
    if UUID.fullmatch(sent["uuid"]) is None:
        raise Unreadable
    details = sent.get("details") or {}
    found = [
        sent.get(key) or details.get(key) for key in ("number_address", "emergency_number_address")
    ]
    ids = [each["id"] if each else None for each in found]
    extra = {key: sent[key] for key in set(sent) - NUMBER_KEYS}
    if inside := {key: details[key] for key in set(details) - DETAILS_KEYS}:
        extra["details"] = inside
    status = sent["status"] if sent.get("status") is not None else details.get("status")
    provisioned_at = moment(sent.get("provisioned")) or moment(details.get("provisioned"))
    stamps = [moment(details.get("cancelled")), moment(sent.get("cancelled"))]
    late = [each for each in stamps if each and (not provisioned_at or each > provisioned_at)]
    cancelled_at = next(iter([*late, *filter(None, stamps)]), None)
    gone = (status or "").lower() == "cancelled"
    number = {
        **{name: sent.get(name) for name in TEXTS},
        "country_alpha2": ALPHA2.get(sent.get("country_iso") or ""),
        "lifecycle": "cancelled" if gone else "live",
        "status": status,
        "monthly_charge": amount(sent.get("monthly_charge")),
        "setup_charge": amount(sent.get("setup_charge")),
        "provisioned_at": provisioned_at,
        "cancelled_at": cancelled_at,
        "details_status": details.get("status"),
        "details_provisioned_at": moment(details.get("provisioned")),
        "number_address_id": ids[0],
        "emergency_number_address_id": ids[1],
        "extra": extra or None,
    }
    return number, {each["id"]: read_address(each) for each in found if each}


def assert_history_replays(tables: dict[str, list[Row]]) -> None:
    """
    The last row of a number is its state, and rows follow each other without a gap.
    """
    histories: dict[str, list[Row]] = {}
    for row in tables["number_history"]:
        histories.setdefault(row["uuid"], []).append(row)
    for number in tables["numbers"]:
        rows = histories.pop(number["uuid"])
        assert [row["valid_to"] for row in rows].count(None) == 1
        assert rows[-1]["valid_to"] is None
        assert all(one["valid_to"] == other["valid_from"] for one, other in pairwise(rows))
        assert {name: rows[-1][name] for name in TRACKED} == {
            name: number[name] for name in TRACKED
        }
        assert rows[0]["changes"] is None
        assert all(row["changes"] for row in rows[1:])
        assert len({row["run_id"] for row in rows}) >= len(rows) - 1
    assert histories == {}


@dataclass(frozen=True, kw_only=True)
class View:
    """
    What the provider shows to one run, and how much of what is missing that run believes.

    Attributes:
        entries: The cancelled listing.
        unlisted: Rows that the listing leaves out and a search finds.
        percent: The guard's share of the live numbers.
        count: The guard's count.
        lifted: The guard is lifted.
    """

    listed: list[Row]
    entries: list[Row] = field(default_factory=list)
    unlisted: list[Row] = field(default_factory=list)
    percent: int = 10
    count: int = 10
    lifted: bool = False

    def finds(self, uuid: str, digits: str) -> Row | None:
        """
        The number that a search for its digits returns.
        """
        rows = (row for row in self.unlisted if digits in row["number_e164"])
        return next((row for row in rows if row["uuid"] == uuid), None)


class Oracle:
    """
    What the tables have to hold after the runs so far, all of complete listings.
    """

    def __init__(self) -> None:
        """
        Begin with empty tables.
        """
        self.numbers: dict[str, Row] = {}
        self.seen: dict[str, Row] = {}  # first_seen_at, changed_at and the runs' ids
        self.history: dict[str, list[Row]] = {}
        self.addresses: dict[int, Row] = {}
        self.addresses_seen: dict[int, Row] = {}
        self.address_history: dict[int, list[Row]] = {}
        self.rejects: list[tuple[int, str | None]] = []
        self.counts: dict[str, int] = {}
        self._run_id = 0
        self._at = datetime.min.replace(tzinfo=UTC)
        self._untouched: set[str] = set()  # live in this run, and as they were
        self.withheld: dict[str, tuple[str, str]] = {}  # evidence and reason, of the last run
        self.early_stamps = 0  # left out by the last run
        self._nameless = False  # this run has read a row without a uuid
        self._any_found = False  # a search of this run has found a number
        self._blurred: set[str] = set()  # a search of this run showed a row that can't be read

    def run(self, view: View, run_id: int, at: datetime) -> None:
        """
        Take over what one run is shown.
        """
        self._run_id, self._at = run_id, at
        self._nameless = False
        self._untouched = set()
        self.counts = dict.fromkeys(
            ("added", "provisioned", "cancelled", "reinstated", "changed", "unchanged"), 0
        )
        self.counts |= {"listed": 0, "address_changes": 0, "rejected": 0, "withheld": 0}
        shown: dict[int, Row] = {}
        listed = self._read(view.listed, shown)
        of_entries: dict[int, Row] = {}
        entries = self._read(view.entries, of_entries, entries=True)
        unreadable = {uuid for run_id, uuid in self.rejects if run_id == self._run_id}
        present = {row["uuid"] for row in view.listed}
        live = {uuid for uuid, row in self.numbers.items() if row["lifecycle"] == "live"}
        news = {
            uuid: entry | {"lifecycle": "cancelled"}
            for uuid, entry in entries.items()
            if uuid not in present
            and not self._is_old_story(uuid, entry)
            and (
                entry["lifecycle"] == "cancelled"
                or entry["cancelled_at"] is None
                or self._credible(uuid, entry)
            )
        }
        missing = live - present - unreadable
        absent = set() if self._nameless else missing - set(news)
        self.counts["listed"] = len(listed)
        found = self._search(view, missing & set(news), absent, shown)
        listed |= found
        absent -= set(listed)
        weak = self._judge_stamps(listed, live)
        weak_entries = {
            uuid
            for uuid in (missing & set(news)) - set(found)
            if entries[uuid]["lifecycle"] == "live"
        }
        doubtful = len(absent) + len(weak) + len(weak_entries)
        too_many = not view.lifted and (
            doubtful > view.count and doubtful * 100 > view.percent * len(live)
        )
        self.withheld = {}
        if too_many:
            self.withheld |= dict.fromkeys(weak, ("listing", "guard"))
            self.withheld |= dict.fromkeys(weak_entries, ("cancelled_listing", "guard"))
        for uuid in (missing & set(news) & self._blurred) - set(self.withheld):
            self.withheld[uuid] = ("cancelled_listing", "contradicted")
        for uuid, number in listed.items():
            if uuid in self.withheld:
                self._untouched.add(uuid)
            else:
                self._listed(uuid, number)
        for uuid, entry in news.items():
            if uuid not in listed and uuid not in self.withheld:
                self._listed(uuid, entry, "cancelled_listing")
        for number_id, content in (of_entries | shown).items():
            self._address(number_id, content)
        self.counts["unchanged"] = len(self._untouched - set(found))
        self._take_from_absence(view, absent, too_many=too_many)
        self.counts["withheld"] = len(self.withheld)

    def _credible(self, uuid: str, number: Row) -> datetime | None:
        """
        The `cancelled` stamp of a row, if it may be true.
        """
        stamp: datetime | None = number["cancelled_at"]
        begun = number["provisioned_at"] or self.numbers.get(uuid, {}).get("provisioned_at")
        if stamp is None or (begun is not None and stamp <= begun):
            return None
        return stamp if stamp <= self._at + timedelta(hours=24) else None

    def _judge_stamps(self, listed: dict[str, Row], live: set[str]) -> set[str]:
        """
        Let credible stamps cancel, and leave early ones out; the live numbers so cancelled.
        """
        weak = set()
        self.early_stamps = 0
        for uuid, number in listed.items():
            stamp = number["cancelled_at"]
            if number["lifecycle"] == "cancelled" or stamp is None:
                continue
            begun = number["provisioned_at"] or self.numbers.get(uuid, {}).get("provisioned_at")
            if self._credible(uuid, number):
                number["lifecycle"] = "cancelled"
                weak |= {uuid} & live
            elif begun is not None and stamp <= begun:
                number["cancelled_at"] = None
                self.early_stamps += 1
        return weak

    def _read(
        self, rows: list[Row], shown: dict[int, Row], *, entries: bool = False
    ) -> dict[str, Row]:
        """
        Read a listing's rows and the addresses in them; reject those that can't be read.

        Entries of the cancelled listing that are live by their own status say nothing.
        """
        numbers: dict[str, Row] = {}
        for sent in rows:
            try:
                number, found = read_number(sent)
                if (
                    entries
                    and number["lifecycle"] == "live"
                    and (number["status"] or "").strip()
                    and number["cancelled_at"] is None
                ):
                    continue
                numbers[sent["uuid"]] = number
                shown |= found
            except Unreadable:
                known = UUID.fullmatch(sent["uuid"]) is not None
                self._nameless = self._nameless or not known
                self.rejects.append((self._run_id, sent["uuid"] if known else None))
                self.counts["rejected"] += 1
        return numbers

    def _is_old_story(self, uuid: str, entry: Row) -> bool:
        """
        Whether an entry tells how an earlier life of the number ended.
        """
        stamp = entry["cancelled_at"]
        if uuid not in self.numbers or stamp is None:
            return False
        for begun in (self.numbers[uuid]["provisioned_at"], entry["provisioned_at"]):
            if begun is not None and stamp < begun:
                return True
        rows = self.history[uuid]
        back = max((n for n, row in enumerate(rows) if row["event"] == "reinstated"), default=0)
        ends = [row["cancelled_at"] for row in rows[:back] if row["event"] == "cancelled"]
        return any(end is not None and stamp <= end for end in ends)

    def _search(
        self,
        view: View,
        entered: set[str],
        absent: set[str],
        shown: dict[int, Row],
    ) -> dict[str, Row]:
        """
        Search for what is missing; the numbers that are found, as they stand.

        If the listing is empty, no search would make its absences credible.
        """
        wanted = set(entered)
        if view.listed or view.lifted:
            wanted |= absent
        found: dict[str, Row] = {}
        self._blurred.clear()
        for uuid in wanted:
            row = view.finds(uuid, self.numbers[uuid]["number"])
            if row is not None:
                try:
                    found[uuid], addresses = read_number(row)
                    shown |= addresses
                except Unreadable:
                    self._blurred.add(uuid)
                    self.rejects.append((self._run_id, uuid))
                    self.counts["rejected"] += 1
        self._any_found = bool(found)
        return found

    def _take_from_absence(self, view: View, absent: set[str], *, too_many: bool) -> None:
        """
        Cancel what is absent and not found, unless that is too much to be true.
        """
        for uuid in absent:
            if too_many or not (view.listed or view.lifted):
                self.withheld[uuid] = ("absence", "guard")
            elif uuid in self._blurred or (view.lifted and self._any_found):
                self.withheld[uuid] = ("absence", "contradicted")
            else:
                self._absent(uuid)

    def _listed(self, uuid: str, new: Row, evidence: str = "listing") -> None:
        """
        Take over what a number's own row says, or its entry in the cancelled listing.
        """
        old = self.numbers.get(uuid)
        if old is None:
            self._first_seen(uuid, new, evidence)
        elif new["lifecycle"] == "cancelled":
            said = {name: new[name] for name in SAID_OF_THE_END if new[name] is not None}
            said["provisioned_at"] = old["provisioned_at"] or new["provisioned_at"]
            event = "cancelled" if old["lifecycle"] == "live" else "changed"
            stamp = self._credible(uuid, new) if event == "cancelled" else None
            self._becomes(uuid, old | {"lifecycle": "cancelled"} | said, event, stamp, evidence)
        elif old["lifecycle"] == "cancelled":
            end = self._credible(uuid, old) or max(
                row["occurred_at"] for row in self.history[uuid] if row["event"] == "cancelled"
            )
            stamp = new["provisioned_at"]
            self._becomes(uuid, new, "reinstated", stamp if stamp and stamp > end else None)
        elif new["provisioned_at"] not in (None, old["provisioned_at"]):
            self._becomes(uuid, new, "provisioned", new["provisioned_at"])
        else:
            self._becomes(uuid, new, "changed", None)

    def _first_seen(self, uuid: str, new: Row, evidence: str) -> None:
        """
        Begin a number's history.
        """
        self.seen[uuid] = {"first_seen_at": self._at, "first_run_id": self._run_id}
        self.history[uuid] = []
        if new["lifecycle"] == "live":
            stamp = new["provisioned_at"]
            self._write(uuid, new, "provisioned" if stamp else "added", stamp, None)
            return
        changes = None
        if new["provisioned_at"]:
            then = new | {"lifecycle": "live", "status": None, "cancelled_at": None}
            self._write(uuid, then, "provisioned", new["provisioned_at"], None, evidence)
            changes = differences(then, new)
        self._write(uuid, new, "cancelled", self._credible(uuid, new), changes, evidence)

    def _absent(self, uuid: str) -> None:
        """
        Cancel a number that nothing shows any more.
        """
        gone = self.numbers[uuid] | {"lifecycle": "cancelled", "cancelled_at": self._at}
        self._becomes(uuid, gone, "cancelled", None, "absence")

    def _becomes(
        self, uuid: str, new: Row, event: str, stamp: datetime | None, evidence: str = "listing"
    ) -> None:
        """
        Give a number another state, if it is another.
        """
        changes = differences(self.numbers[uuid], new)
        if changes:
            self._write(uuid, new, event, stamp, changes, evidence)
        elif new["lifecycle"] == "live":
            self._untouched.add(uuid)

    def _write(
        self,
        uuid: str,
        new: Row,
        event: str,
        stamp: datetime | None,
        changes: Row | None,
        evidence: str = "listing",
    ) -> None:
        """
        Write a history row, and the state after it.
        """
        if self.history[uuid]:
            self.history[uuid][-1]["valid_to"] = self._at
        row = {
            "run_id": self._run_id,
            "event": event,
            "occurred_at": stamp or self._at,
            "occurred_at_source": "provider" if stamp else "observed",
            "evidence": evidence,
            "valid_from": self._at,
            "valid_to": None,
            "changes": changes,
        }
        self.history[uuid].append(row | {name: new[name] for name in TRACKED})
        self.numbers[uuid] = new
        self.seen[uuid] |= {"changed_at": self._at, "changed_run_id": self._run_id}
        self.counts[event] += 1

    def _address(self, number_id: int, new: Row) -> None:
        """
        Take over an address.
        """
        old = self.addresses.get(number_id)
        if old is not None and not differences(old, new):
            return
        rows = self.address_history.setdefault(number_id, [])
        if rows:
            rows[-1]["valid_to"] = self._at
        changes = differences(old, new) if old is not None else None
        event = "added" if old is None else "changed"
        of_run = {"run_id": self._run_id, "event": event, "changes": changes}
        rows.append(new | of_run | {"valid_from": self._at, "valid_to": None})
        self.addresses[number_id] = new
        seen = self.addresses_seen.setdefault(number_id, {"first_seen_at": self._at})
        seen["changed_at"] = self._at
        self.counts["address_changes"] += 1
