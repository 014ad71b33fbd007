"""
The SELECT statement of each view, for PostgreSQL and SQLite.

Months begin and end in UTC, whatever the session's time zone is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc import clock
from syncsvc.schema.live_periods import MOVES, SPELLS
from syncsvc.schema.sql_fragments import exact_sum
from syncsvc.schema.tables import number_history, numbers
from syncsvc.vocabulary import PUBLISHED

if TYPE_CHECKING:
    from syncsvc.schema.sql_fragments import SqlFragments

ADDRESS_FIELDS = {
    "name": "name",
    "use_for_proof_of_address": "use_for_proof_of_address",
    "use_for_emergency_address": "use_for_emergency_address",
    "line1": "address_line1",
    "line2": "address_line2",
    "city": "address_city",
    "region": "address_region",
    "postal_code": "address_postal_code",
    "country_name": "country_name",
    "country_iso": "country_iso",
}
ROLES = ("number_address", "emergency_number_address")
CLOCK_TOLERANCE = int(clock.TOLERANCE.total_seconds())
PUBLISHED_STATES = ", ".join(f"'{state}'" for state in PUBLISHED)
OF_NUMBER = ("number_e164", "range_name", "country_name", "country_alpha2")


def live_numbers(_sql: SqlFragments) -> str:
    """
    Select live numbers with both of their addresses.
    """
    own = [f"n.{column.name}" for column in numbers.c]
    of_addresses = [
        f"{role}.{column} AS {role}_{name}"
        for role in ROLES
        for name, column in ADDRESS_FIELDS.items()
    ]
    joins = "\n".join(
        f"LEFT JOIN addresses {role} ON {role}.account = n.account AND {role}.id = n.{role}_id"
        for role in ROLES
    )
    columns = ",\n  ".join([*own, *of_addresses])
    return f"SELECT\n  {columns}\nFROM numbers n\n{joins}\nWHERE n.lifecycle = 'live'"


def number_changes(_sql: SqlFragments) -> str:
    """
    Select the history, with each row's number, range and country.
    """
    columns = [f"h.{column.name}" for column in number_history.c]
    columns += [f"n.{name}" for name in OF_NUMBER]
    return (
        "SELECT\n  " + ",\n  ".join(columns) + "\nFROM number_history h\n"
        "JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid"
    )


def monthly_charges(sql: SqlFragments) -> str:
    """
    Sum the monthly charges of live numbers by account, country and range.
    """
    total = exact_sum(sql, "monthly_charge")
    return f"""SELECT
  account, country_alpha2, country_name, range_name,
  count(*) AS numbers,
  {total} AS monthly_charge
FROM numbers
WHERE lifecycle = 'live'
GROUP BY account, country_alpha2, country_name, range_name"""  # noqa: S608 - no values


def inventory_by_month(sql: SqlFragments) -> str:
    """
    Select what was live at each month's end: the sum of all moves up to then.
    """
    # `months` sums the moves of each month. `calendar` adds the months in which nothing moved:
    # they have rows too, with the inventory of the month before.
    return f"""WITH RECURSIVE {SPELLS},
{_charges(sql)},
{MOVES},
months AS (
  SELECT
    {sql.month("m.moment")} AS month, m.account, n.country_alpha2,
    sum(m.numbers) AS numbers, sum(m.charge) AS charge
  FROM moves m
  JOIN numbers n ON n.account = m.account AND n.uuid = m.uuid
  WHERE m.moment <= {sql.now}
  GROUP BY 1, 2, 3
),
calendar AS (
  SELECT min(month) AS month, account, country_alpha2 FROM months GROUP BY account, country_alpha2
  UNION ALL
  SELECT {sql.next_month("month")}, account, country_alpha2 FROM calendar
  WHERE month < {sql.month(sql.now)}
),
moved AS (
  SELECT month, account, country_alpha2, numbers, charge FROM months
  UNION ALL
  SELECT month, account, country_alpha2, 0, 0 FROM calendar
)
SELECT
  month, account, country_alpha2,
  CAST(sum(sum(numbers)) OVER so_far AS bigint) AS numbers,
  {sql.amount("sum(sum(charge)) OVER so_far")} AS monthly_charge
FROM moved
GROUP BY month, account, country_alpha2
WINDOW so_far AS (PARTITION BY account, country_alpha2 ORDER BY month)"""  # noqa: S608 - no values


def _charges(sql: SqlFragments) -> str:
    """
    Select each change of a number's charge, by the time at which we learned of it.

    The first row's charge applies from the beginning (`since` is NULL): a number that we first saw
    today had a charge before, too. If the first row has no charge, the first known one applies
    until then, so it is added from the beginning and subtracted when the number was first seen.
    """
    charge = sql.exact("coalesce(monthly_charge, 0)")
    before = sql.exact("coalesce(charge_before, 0)")
    return f"""charges AS (
  SELECT
    account, uuid, CASE WHEN place > 1 THEN valid_from END AS since, {charge} - {before} AS more
  FROM told
  WHERE coalesce(monthly_charge, 0) <> coalesce(charge_before, 0)
  UNION ALL
  SELECT account, uuid, CASE WHEN sign < 0 THEN seen_at END, sign * {charge}
  FROM told CROSS JOIN (SELECT 1 AS sign UNION ALL SELECT -1) signs
  WHERE charges_known = 1 AND place > 1 AND charge_before IS NULL AND monthly_charge <> 0
)"""  # noqa: S608 - no values


def churn_by_month(sql: SqlFragments) -> str:
    """
    Count the events of each month.
    """
    counted = ",\n  ".join(
        f"count(CASE WHEN h.event = '{event}' THEN 1 END) AS {event}"
        for event in ("added", "provisioned", "reinstated", "cancelled")
    )
    return f"""SELECT
  {sql.month("h.occurred_at")} AS month, h.account, n.country_alpha2,
  {counted}
FROM number_history h
JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid
WHERE h.event <> 'changed'
GROUP BY 1, 2, 3"""  # noqa: S608 - no values


def numbers_without_emergency_address(_sql: SqlFragments) -> str:
    """
    Select live numbers without an address for the emergency services.
    """
    return "SELECT * FROM live_numbers WHERE emergency_number_address_id IS NULL"


def numbers_without_proof_of_address(_sql: SqlFragments) -> str:
    """
    Select live numbers without an address.
    """
    return "SELECT * FROM live_numbers WHERE number_address_id IS NULL"


def sync_status(sql: SqlFragments) -> str:
    """
    Select the state of each account, even if all of its runs failed.

    The last success is dated by the clock of its machine, not by `finished_at`, which stays
    ahead for as long as one wrong clock was ahead. A success in the future can't be dated: then
    the last one that is not in the future counts, if there is one.
    """
    seconds = sql.seconds_since("s.last_success_at")
    age = sql.seconds_since("last_success_at")
    age_of_run = sql.seconds_since("coalesce(p.recorded_at, p.finished_at)")
    return f"""SELECT
  s.account,
  s.last_run_id,
  s.last_state AS last_run_state,
  s.last_started_at AS last_run_started_at,
  s.last_success_at,
  CASE WHEN {seconds} < 0 THEN 0 ELSE {seconds} END AS seconds_since_success,
  s.live_numbers,
  s.cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    a.account, last_run_id, last_state, last_started_at, live_numbers, cancelled_numbers,
    CASE WHEN {age} > -{CLOCK_TOLERANCE} THEN last_success_at ELSE (
      SELECT coalesce(p.recorded_at, p.finished_at)
      FROM sync_runs p
      WHERE p.account = a.account AND p.state IN ({PUBLISHED_STATES})
        AND {age_of_run} > -{CLOCK_TOLERANCE} AND a.last_success_at IS NOT NULL
      ORDER BY p.started_at DESC
      LIMIT 1
    ) END AS last_success_at
  FROM account_status a
  WHERE last_run_id IS NOT NULL
) s
LEFT JOIN sync_runs r ON r.account = s.account AND r.id = s.last_run_id"""  # noqa: S608 - no values
