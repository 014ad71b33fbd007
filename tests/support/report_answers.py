"""
What every report has to answer, worked out in plain Python from the tables' rows.

Nothing here knows SQL, or the code of a report but for what it is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from support.build import rows_of
from support.histories import Told, after, charge, months, spells
from syncsvc.clock import now
from syncsvc.country_alpha2 import alpha2
from syncsvc.reports.definition.report import REQUIRED
from syncsvc.schema.tables import (
    account_status,
    accounts,
    address_history,
    addresses,
    number_history,
    numbers,
    sync_runs,
    withheld_cancellations,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Engine, Table

    from syncsvc.reports import Arguments, Report

Row = dict[str, Any]
NEEDED = {
    "address": 1,
    "start": datetime(2026, 3, 31, tzinfo=UTC),
}  # of parameters without a default
INTERVALS = {
    "15m": timedelta(minutes=15),
    "30d": timedelta(days=30),
    "1s": timedelta(seconds=60),  # nothing is late within a minute
}
STATUS = (
    *("live_numbers", "cancelled_numbers", "withheld", "rejected", "failures"),
    *("last_success_at", "next_run_at", "host", "attention"),
)
CHURN = ("added", "provisioned", "reinstated", "cancelled")


def defaults(report: Report) -> Row:
    """
    What a report is asked by default, with an example of what it can't do without.
    """
    return {
        name: NEEDED[name] if value is REQUIRED else value for name, value in report.takes.items()
    }


class Tables:
    """
    What is in a database that does not change meanwhile: each table is read once.
    """

    def __init__(self, engine: Engine) -> None:
        """
        Read nothing yet.
        """
        self._engine = engine
        self._read: dict[tuple[str, str | None], list[Row]] = {}

    def rows(self, table: Table, account: str | None = None) -> list[Row]:
        """
        The rows of a table, or of an account in it.
        """
        wanted = {"account": account} if account else {}
        key = (table.name, account)
        if key not in self._read:
            self._read[key] = rows_of(self._engine, table, **wanted)
        return self._read[key]

    @cached_property
    def told(self) -> Told:
        """
        What the history tells.
        """
        return Told(self._engine, now())


class Answers:
    """
    The answers to be expected of a database.
    """

    def __init__(self, tables: Tables, arguments: Arguments) -> None:
        """
        Look up what belongs to the account.
        """
        self.arguments = arguments
        self.tables = tables
        of_account = partial(tables.rows, account=arguments.account)
        self.every_number = tables.rows(numbers)
        self.runs = of_account(sync_runs)
        self.addresses = {row["id"]: row for row in of_account(addresses)}
        self.withheld = of_account(withheld_cancellations)
        self.address_history = of_account(address_history)
        self.numbers = {
            row["uuid"]: row for row in self.every_number if row["account"] == arguments.account
        }
        self.every_row = of_account(number_history)
        self.history = [row for row in self.every_row if self._wanted(self.numbers[row["uuid"]])]
        self.told = tables.told

    def to(self, name: str) -> list[Row]:
        """
        The rows that a report has to give.
        """
        answer: Callable[[], Iterable[Row]] = getattr(self, f"_{name.replace('-', '_')}")
        return list(answer())[: self.arguments.limit]

    def _wanted(self, number: Row) -> bool:
        return self.arguments.country in (None, number["country_alpha2"])

    def _live(self) -> list[Row]:
        found = (row for row in self.numbers.values() if row["lifecycle"] == "live")
        return [row for row in found if self._wanted(row)]

    def _number(self, row: Row) -> Row:
        number = self.numbers[row["uuid"]]
        names = ("number_e164", "uuid", "country_alpha2", "range_name", "country_name")
        return {**row, **{name: number[name] for name in names}}

    def _in_window(self, moment: datetime) -> bool:
        told = self.arguments
        end = told.until or datetime.max.replace(tzinfo=UTC)
        start = told.since or (told.until or told.now) - timedelta(days=told.days)
        return start <= moment <= end

    def _newest(self, rows: Iterable[Row]) -> list[Row]:
        by_number = sorted(
            rows,
            key=lambda row: (
                row.get("number_e164", row.get("address_id")),
                row.get("uuid"),
                row["id"],
            ),
        )
        return sorted(by_number, key=lambda row: row["valid_from"], reverse=True)

    def _spend(self, *by: str) -> list[Row]:
        at = self.arguments.at
        found = (
            self._live() if at is None else [self._number(r) for r in self.history if _held(r, at)]
        )
        groups = defaultdict(list)
        for row in found:
            if row["lifecycle"] == "live":
                groups[tuple(row[name] for name in by)].append(row["monthly_charge"])
        return [
            {
                **dict(zip(by, key, strict=True)),
                "numbers": len(charges),
                "without_charge": charges.count(None),
                "monthly_charge": sum((each for each in charges if each is not None), Decimal(0)),
            }
            for key, charges in sorted(groups.items(), key=lambda item: _last_none(*item[0]))
        ]

    def _spend_by_country(self) -> list[Row]:
        return self._spend("country_alpha2", "country_name")

    def _spend_by_range(self) -> list[Row]:
        return self._spend("country_alpha2", "range_name")

    def _spend_by_status(self) -> list[Row]:
        return self._spend("status")

    def _months_asked(self) -> list[date]:
        last = self.arguments.now.date().replace(day=1)
        first = last
        for _ in range(self.arguments.months - 1):
            first = (first - timedelta(days=1)).replace(day=1)
        return list(months(datetime.combine(first, datetime.min.time()), self.arguments.now))

    def _month_end_by_country(self) -> list[Row]:
        found = [
            {"month": month, "country_alpha2": country, "numbers": held, "monthly_charge": cost}
            for (month, account, country), (held, cost) in self.told.inventory().items()
            if account == self.arguments.account
            and month in self._months_asked()
            and self.arguments.country in (None, country)
        ]
        return sorted(found, key=lambda row: _last_none(row["month"], row["country_alpha2"]))

    def _month_end(self) -> list[Row]:
        found: dict[date, Row] = {}
        for row in self._month_end_by_country():
            zero: Row = {"month": row["month"], "numbers": 0, "monthly_charge": Decimal(0)}
            total = found.setdefault(row["month"], zero)
            total["numbers"] += row["numbers"]
            total["monthly_charge"] += row["monthly_charge"]
        return list(found.values())

    def _churn_by_month(self) -> list[Row]:
        counted: dict[date, Counter[str]] = defaultdict(Counter)
        for (month, account, country), events in self.told.churn().items():
            mine = account == self.arguments.account and self.arguments.country in (None, country)
            if mine and month >= self._months_asked()[0]:
                counted[month].update(events)
        first = self._months_asked()[0]
        last = max([*counted, self.arguments.now.date().replace(day=1)])
        beginning = datetime.combine(first, datetime.min.time())
        ending = datetime.combine(last, datetime.min.time())
        return [
            {"month": month, **{name: counted[month][name] for name in CHURN}}
            for month in months(beginning, ending)
        ]

    def _charges_changed(self) -> list[Row]:
        before: dict[int, Row] = {}
        last: dict[str, Row] = {}
        for row in self.every_row:
            if row["uuid"] in last:
                before[row["id"]] = last[row["uuid"]]
            last[row["uuid"]] = row
        found = []
        for row in self.history:
            was = before.get(row["id"])
            if was is None or not self._in_window(row["valid_from"]):
                continue
            sides: Row = {}
            for name in ("monthly_charge", "setup_charge"):
                same = was[name] == row[name]
                sides[f"{name}_before"] = None if same else was[name]
                sides[f"{name}_after"] = None if same else row[name]
            if any(value is not None for value in sides.values()):
                old, new = sides["monthly_charge_before"], sides["monthly_charge_after"]
                more = None if None in (old, new) else new - old
                found.append({**self._number(row), **sides, "monthly_difference": more})
        return self._newest(found)

    def _gaps(self, role: str, flag: str) -> list[Row]:
        found = []
        for row in self._live():
            address = self.addresses.get(row[role])
            if address is None or address[flag] is not True:
                found.append(
                    {
                        **row,
                        "gap": "no address" if address is None else "not flagged",
                        "address_id": row[role],
                        "address_name": address and address["name"],
                    }
                )
        return sorted(found, key=_by_number)

    def _emergency_address_gaps(self) -> list[Row]:
        return self._gaps("emergency_number_address_id", "use_for_emergency_address")

    def _proof_of_address_gaps(self) -> list[Row]:
        return self._gaps("number_address_id", "use_for_proof_of_address")

    def _address_country_mismatch(self) -> list[Row]:
        found = []
        for row in self._live():
            for role in ("emergency_number_address", "number_address"):
                address = self.addresses.get(row[f"{role}_id"])
                sent = (address or {}).get("country_iso") or ""
                code = alpha2(sent) or sent.strip().upper()
                if address and code and row["country_alpha2"] not in (None, code):
                    found.append(
                        {
                            **row,
                            "role": role,
                            "address_id": address["id"],
                            "address_name": address["name"],
                            "address_country_iso": address["country_iso"],
                            "address_country_name": address["country_name"],
                        }
                    )
        return sorted(found, key=lambda row: (*_by_number(row), row["role"]))

    def _users(self) -> Counter[int]:
        ids = (row["emergency_number_address_id"] for row in self._live())
        return Counter(each for each in ids if each is not None)

    def _shared_emergency_addresses(self) -> list[Row]:
        found = [
            {
                **self.addresses[each],
                "address_id": each,
                "address_name": self.addresses[each]["name"],
                "numbers": users,
            }
            for each, users in self._users().items()
            if users >= self.arguments.at_least
        ]
        return sorted(found, key=lambda row: (-row["numbers"], row["address_id"]))

    def _emergency_addresses_changed(self) -> list[Row]:
        users = self._users()
        return self._newest(
            {
                **row,
                "address_name": row["name"],
                "what": _what(row),
                "numbers": users[row["address_id"]],
            }
            for row in self.address_history
            if row["event"] == "changed"
            and self._in_window(row["valid_from"])
            and users[row["address_id"]]
        )

    def _cancelled_numbers(self) -> list[Row]:
        return self._newest(
            {**self._number(row), "days_until_known": _days(row["occurred_at"], row["valid_from"])}
            for row in self.history
            if row["event"] == "cancelled" and self._in_window(row["valid_from"])
        )

    def _came_back(self) -> list[Row]:
        found, gone = [], {}
        for row in self.history:
            if row["event"] == "cancelled":
                gone[row["uuid"]] = row
            elif row["event"] == "reinstated" and self._in_window(row["valid_from"]):
                before = gone[row["uuid"]]
                found.append(
                    {
                        **self._number(row),
                        "cancelled_at": before["occurred_at"],
                        "cancelled_on": before["evidence"],
                        "reinstated_at": row["occurred_at"],
                        "days_away": _days(before["occurred_at"], row["occurred_at"]),
                    }
                )
        return self._newest(found)

    def _latest_changes(self) -> list[Row]:
        return self._newest({**self._number(row), "what": _what(row)} for row in self.history)

    def _reserved_numbers(self) -> list[Row]:
        found = []
        for row in self._live():
            if not _reserved(row):
                continue
            otherwise = [
                each["valid_to"]
                for each in self.history
                if each["uuid"] == row["uuid"]
                and (not _reserved(each) or each["lifecycle"] == "cancelled")
            ]
            came = min(row["first_seen_at"], row["provisioned_at"] or row["first_seen_at"])
            since = max(otherwise, default=came)
            if self._reserved_in_window(since):
                days = _days(since, self.arguments.now)
                found.append({**row, "reserved_since": since, "days_reserved": days})
        return sorted(found, key=lambda row: (row["reserved_since"], *_by_number(row)[1:]))

    def _reserved_in_window(self, since: datetime) -> bool:
        told = self.arguments
        if told.since or told.until:
            return (told.since or since) <= since <= (told.until or told.now)
        return since < told.now - timedelta(days=told.days)

    def _days_to_provision(self) -> list[Row]:
        found = []
        for row in self.history:
            if row["event"] != "added" or not self._in_window(row["valid_from"]):
                continue
            stamps = [
                each["provisioned_at"]
                for each in self.history
                if each["uuid"] == row["uuid"] and each["provisioned_at"] is not None
            ]
            gone = self.numbers[row["uuid"]]["lifecycle"] == "cancelled"
            outcome = "provisioned" if stamps else "cancelled" if gone else "waiting"
            until = self.arguments.now if outcome == "waiting" else next(iter(stamps), None)
            found.append(
                {
                    **self._number(row),
                    "listed_at": row["valid_from"],
                    "provisioned_at": next(iter(stamps), None),
                    "outcome": outcome,
                    "days": _days(row["valid_from"], until),
                }
            )
        return self._newest(found)

    def _same_number_twice(self) -> list[Row]:
        rows = Counter(row["number_e164"] for row in self.every_number)
        live = Counter(
            row["number_e164"] for row in self.every_number if row["lifecycle"] == "live"
        )
        found = [
            {**row, "live": live[row["number_e164"]]}
            for row in self.every_number
            if rows[row["number_e164"]] > 1
        ]
        names = ("number_e164", "account", "uuid")
        return sorted(found, key=lambda row: (-row["live"], *(row[name] for name in names)))

    def _accounts(self) -> list[Row]:
        statuses = {row["account"]: row for row in self.tables.rows(account_status)}
        found = self.tables.rows(accounts) or [
            {"account": name, "enabled": True, "settings": {}}
            for name, status in statuses.items()
            if status["last_run_id"] is not None
        ]
        return [
            self._account(row, statuses.get(row["account"]))
            for row in sorted(found, key=lambda row: row["account"])
        ]

    def _account(self, row: Row, status: Row | None) -> Row:
        live = [
            each["monthly_charge"] or Decimal(0)
            for each in self.every_number
            if (each["account"], each["lifecycle"]) == (row["account"], "live")
        ]
        return {
            **dict.fromkeys(STATUS),
            **(status or {}),
            "account": row["account"],
            "state": self._state(row, status),
            "monthly_charge": sum(live, Decimal(0)) if status else None,
            "currency": row["settings"].get("currency", self.arguments.currency),
        }

    def _state(self, row: Row, status: Row | None) -> str:
        if not row["enabled"]:
            return "paused"
        if status is None or status["last_finished_at"] is None:
            return "never"
        if status["failures"] or status["attention"]:
            return "failing"
        if status["withheld"]:
            return "withheld"
        allowed = INTERVALS[row["settings"].get("schedule", self.arguments.schedule)]
        due = status["next_run_at"]
        return "late" if due is not None and self.arguments.now > due + allowed else "ok"

    def _withheld(self) -> list[Row]:
        found = []
        for row in self.withheld:
            number = self.numbers[row["uuid"]]
            if self._wanted(number):
                found.append({**number, **row, "last_seen_at": self._last_seen(row)})
        return sorted(found, key=lambda row: (row["reason"], *_by_number(row)))

    def _last_seen(self, row: Row) -> datetime:
        (run,) = (each for each in self.runs if each["id"] == row["run_id"])
        if row["evidence"] == "listing":
            return cast("datetime", run["started_at"])
        whole: list[datetime] = [
            each["started_at"]
            for each in self.runs
            if each["id"] < run["id"]
            and each["state"] == "succeeded"
            and each["detail"]["complete"]
            and not each["rejected"]
        ]
        changed_at: datetime = self.numbers[row["uuid"]]["changed_at"]
        return max([*whole, changed_at])

    def _states(self) -> list[Row]:
        """
        The numbers as they are, or as they were known then.
        """
        at = self.arguments.at
        held = [
            row for row in self.history if (not row["valid_to"] if at is None else _held(row, at))
        ]
        return [{**self.numbers[row["uuid"]], **row} for row in held]

    def _address(self, address_id: int | None) -> Row:
        at = self.arguments.at
        if at is None:
            return self.addresses.get(address_id, {}) if address_id is not None else {}
        found = [r for r in self.address_history if r["address_id"] == address_id and _held(r, at)]
        return found[0] if found else {}

    def _inventory(self) -> list[Row]:
        found = []
        for row in self._states():
            if self.arguments.lifecycle in ("all", row["lifecycle"]):
                for role in ("number_address", "emergency_number_address"):
                    address = self._address(row[f"{role}_id"])
                    for name in ("line1", "line2", "city", "region", "postal_code"):
                        row[f"{role}_{name}"] = address.get(f"address_{name}")
                    for name in ("name", "country_iso"):
                        row[f"{role}_{name}"] = address.get(name)
                found.append(row)
        return sorted(found, key=lambda row: (row["number_e164"], row["uuid"]))

    def _range_utilisation(self) -> list[Row]:
        names = ("country_alpha2", "range_code", "range_name")
        groups = defaultdict(list)
        for row in self._states():
            groups[tuple(row[name] for name in names)].append(row)
        return [
            {**dict(zip(names, key, strict=True)), **_utilised(rows)}
            for key, rows in sorted(groups.items(), key=lambda item: _last_none(*item[0]))
        ]

    def _numbers_at_address(self) -> list[Row]:
        found = []
        for row in self._states():
            roles = ("number_address", "emergency_number_address")
            has = [role for role in roles if row[f"{role}_id"] == self.arguments.address]
            if has and row["lifecycle"] == "live":
                found.append({**row, "role": "both" if len(has) == 2 else has[0]})
        return sorted(found, key=_by_number)

    def _changes(self) -> list[Row]:
        """
        Compare every number's state of one time with that of the other.
        """
        start, end = self.arguments.start, self.arguments.end or self.arguments.now
        assert start is not None
        found = []
        for uuid, number in self.numbers.items():
            rows = [row for row in self.history if row["uuid"] == uuid]
            before, later = (
                next((row for row in rows if _held(row, at)), None) for at in (start, end)
            )
            net = _net(rows, before, start, end)
            if later is not None and (before is None or net):
                found.append({**number, **_differs(before, later), "what": _what({"changes": net})})
        return sorted(found, key=_by_number)

    def _invoice(self) -> list[Row]:
        """
        Count day by day.
        """
        month = self.arguments.invoice_month
        length = (after(month).date() - month).days
        found = []
        for uuid, number in self.numbers.items():
            if not self._wanted(number):
                continue
            rows = self.told.histories[self.arguments.account, uuid]
            charges = {
                day: charge(rows, _end_of(month, day)) or Decimal(0)
                for day in range(1, length + 1)
                if self._was_live(rows, month, day)
            }
            if charges:
                setup = [
                    row["setup_charge"]
                    for row in rows
                    if row["event"] in ("provisioned", "reinstated")
                    and row["occurred_at_source"] == "provider"
                    and row["occurred_at"].date().replace(day=1) == month
                    and row["occurred_at"] < self.arguments.now
                ]
                total = sum(charges.values(), Decimal(0)) / length
                found.append(
                    {
                        **number,
                        "month": month,
                        "days_live": len(charges),
                        "pro_rata": total.quantize(Decimal("0.0001")),
                        "full_amount": charge(rows, _end_of(month, max(charges))),
                        "setup_charge": setup[0] if setup else None,
                    }
                )
        key = ("country_alpha2", "range_name", "number_e164", "uuid")
        return sorted(found, key=lambda row: _last_none(*(row[name] for name in key)))

    def _was_live(self, rows: list[Row], month: date, day: int) -> bool:
        start = datetime(month.year, month.month, day, tzinfo=UTC)
        end = min(start + timedelta(days=1), self.arguments.now)
        return start < end and any(
            begun < end and (ended is None or ended > start) for begun, ended in spells(rows)
        )

    def _invoice_by_range(self) -> list[Row]:
        groups = defaultdict(list)
        for row in self._invoice():
            groups[row["country_alpha2"], row["range_name"]].append(row)
        return [
            {
                **rows[0],
                "numbers": len(rows),
                **{
                    name: sum(row[name] or 0 for row in rows)
                    for name in ("days_live", "pro_rata", "full_amount", "setup_charge")
                },
            }
            for rows in groups.values()
        ]

    def _trust(self) -> list[Row]:
        """
        The verdicts of an account whose runs have all published.
        """
        if not self.runs:
            return []
        last = self.runs[-1]
        whole = last["listed"] + last["rejected"] == last["num_results"]
        fresh = self.arguments.now - last["finished_at"] <= timedelta(hours=self.arguments.hours)
        verdicts = {
            "last success": "ok" if fresh else "wrong",
            "last run": "look" if last["state"] == "withheld" else "ok",
            "listing": "ok" if whole else "look",
            "withheld": "look" if last["withheld"] else "ok",
            "rejected": "look" if last["rejected"] else "ok",
            "history": "ok",
        }
        return [{"check": name, "verdict": verdict} for name, verdict in verdicts.items()]


def _end_of(month: date, day: int) -> datetime:
    midnight = datetime(month.year, month.month, day, tzinfo=UTC) + timedelta(days=1)
    return midnight - timedelta(microseconds=1)


def _net(rows: list[Row], before: Row | None, start: datetime, end: datetime) -> Row:
    """
    What changed between two times and did not change back.
    """
    net: Row = {}
    for row in rows:
        if before is not None and start < row["valid_from"] <= end:
            for name, pair in (row["changes"] or {}).items():
                net[name] = {"old": net.get(name, pair)["old"], "new": pair["new"]}
    return {name: pair for name, pair in net.items() if pair["old"] != pair["new"]}


def _differs(before: Row | None, after: Row) -> Row:
    old, new = (
        row["monthly_charge"] if row and row["lifecycle"] == "live" else None
        for row in (before, after)
    )
    lifecycles = (before["lifecycle"] if before else None, after["lifecycle"])
    words: dict[tuple[str | None, str], str] = {
        (None, "live"): "new",
        (None, "cancelled"): "new and cancelled",
        ("live", "cancelled"): "cancelled",
        ("cancelled", "live"): "reinstated",
    }
    return {
        "difference": words.get(lifecycles, "changed"),
        "status_before": before and before["status"],
        "status_after": after["status"],
        "monthly_charge_before": old,
        "monthly_charge_after": new,
        "monthly_difference": (new or Decimal(0)) - (old or Decimal(0)),
    }


def _utilised(rows: list[Row]) -> Row:
    live = [row for row in rows if row["lifecycle"] == "live"]
    reserved = [row for row in live if _reserved(row)]
    used = len(live) - len(reserved)
    return {
        "numbers": len(live),
        "in_use": used,
        "reserved": len(reserved),
        "cancelled": len(rows) - len(live),
        "utilisation": round(Decimal(100 * used) / len(live), 1) if live else None,
        "monthly_charge": _charges(live),
        "reserved_charge": _charges(reserved),
    }


def _charges(rows: list[Row]) -> Decimal:
    return sum((row["monthly_charge"] or Decimal(0) for row in rows), Decimal(0))


def _held(row: Row, at: datetime) -> bool:
    return row["valid_from"] <= at and (row["valid_to"] is None or row["valid_to"] > at)


def _last_none(*values: Any) -> tuple[Any, ...]:
    return tuple((value is None, value if value is not None else 0) for value in values)


def _by_number(row: Row) -> tuple[Any, ...]:
    return (*_last_none(row["country_alpha2"]), row["number_e164"], row["uuid"])


def _days(begin: datetime, end: datetime | None) -> Decimal | None:
    if end is None:
        return None
    return Decimal(f"{(end - begin).total_seconds() / 86400:.1f}")


def _reserved(row: Row) -> bool:
    return (row["status"] or "").strip().lower() == "reserved"


def _what(row: Row) -> str | None:
    def said(value: Any) -> str:
        if value is None:
            return "none"
        text = str(value)
        is_time = len(text) >= 20 and text.endswith("Z") and text[10:11] == "T"
        return f"{text[:10]} {text[11:19]}" if is_time else text

    changes = row["changes"] or {}
    pairs = sorted(changes.items())
    told = (f"{name}: {said(pair['old'])} → {said(pair['new'])}" for name, pair in pairs)
    return "; ".join(told) or None
