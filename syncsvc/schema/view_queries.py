"""
The SELECT statement of each view, for PostgreSQL and SQLite.

Months begin and end in UTC, whatever the session's time zone is. SQLite stores money as the nearest
double, so amounts are summed there as whole ten-thousandths and divided once at the end: the sums
are as exact as those of PostgreSQL's numeric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from syncsvc import clock
from syncsvc.schema.tables import number_history, numbers
from syncsvc.vocabulary import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Callable

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
OF_NUMBER = ("number_e164", "range_name", "country_name", "country_alpha2")


class SqlFragments(NamedTuple):
    """
    SQL fragments that differ between PostgreSQL and SQLite.

    Attributes:
        now: The current time, in the format of a time column.
        month: The first day of a time's month.
        next_month: The first day of the next month, given the first day of a month.
        exact: An amount in a unit that sums exactly.
        amount: Such a sum converted back to an amount.
        seconds_since: Whole seconds from a time to now.
    """

    now: str
    month: Callable[[str], str]
    next_month: Callable[[str], str]
    exact: Callable[[str], str]
    amount: Callable[[str], str]
    seconds_since: Callable[[str], str]


POSTGRESQL = SqlFragments(
    now="now()",
    month=lambda time: f"CAST(date_trunc('month', {time} AT TIME ZONE 'UTC') AS date)",
    next_month=lambda day: f"CAST({day} + interval '1 month' AS date)",
    exact=lambda amount: amount,
    amount=lambda total: total,
    seconds_since=lambda time: f"CAST(floor(extract(epoch FROM now() - {time})) AS bigint)",
)
SQLITE = SqlFragments(
    now="strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    month=lambda time: f"date({time}, 'start of month')",
    next_month=lambda day: f"date({day}, '+1 month')",
    exact=lambda amount: f"CAST(round({amount} * 10000) AS INTEGER)",
    amount=lambda total: f"{total} / 10000.0",
    seconds_since=lambda time: (
        f"CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', {time}) AS INTEGER)"
    ),
)
FRAGMENTS = {"postgresql": POSTGRESQL, "sqlite": SQLITE}


def exact_sum(sql: SqlFragments, amount: str) -> str:
    """
    The exact sum of amounts; unknown ones count as zero.
    """
    return sql.amount(f"coalesce(sum({sql.exact(amount)}), 0)")


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


# The next four queries compute the periods ("spells") in which each number was live, by the times
# at which things occurred. The history is in the order in which we learned of things, which may be
# another one.

# Number a number's spells in the order of the history: a spell includes its own cancellation, so
# the cancellations up to a row are counted without the row itself. The charge of the row before is
# needed for the difference that a row makes.
HISTORY_WITH_SPELLS = """told AS (
  SELECT
    account, uuid, event, lifecycle, occurred_at, provisioned_at, valid_from, monthly_charge,
    row_number() OVER in_order AS place,
    count(CASE WHEN event = 'cancelled' THEN 1 END) OVER in_order
      - CASE WHEN event = 'cancelled' THEN 1 ELSE 0 END AS spell,
    lag(monthly_charge) OVER in_order AS charge_before,
    count(monthly_charge) OVER in_order AS charges_known,
    min(valid_from) OVER in_order AS seen_at
  FROM number_history
  WINDOW in_order AS (
    PARTITION BY uuid, account ORDER BY valid_from, id ROWS UNBOUNDED PRECEDING
  )
)"""

# A spell begins at the earliest time that any of its rows reports: a provisioned timestamp may
# arrive in a later row. A `changed` row begins nothing, except as the oldest row of a number whose
# beginning was pruned. Then the number has been live since it was provisioned, or at least since
# that row.
SPELL_BOUNDS = """bounds AS (
  SELECT
    account, uuid, spell,
    min(CASE
      WHEN lifecycle <> 'live' THEN NULL
      WHEN event <> 'changed' THEN occurred_at
      WHEN place > 1 THEN NULL
      WHEN provisioned_at < occurred_at THEN provisioned_at
      ELSE occurred_at
    END) AS began,
    min(CASE WHEN event = 'cancelled' THEN occurred_at END) AS ended
  FROM told
  GROUP BY account, uuid, spell
)"""

# The provider's timestamps can overlap: a number that was reinstated may have a provisioned
# timestamp from before its cancellation. The latest end of the spells before is where a spell may
# begin at the earliest, so that no number counts twice in a month.
SPELL_PREDECESSORS = """ordered AS (
  SELECT
    account, uuid, began, ended,
    max(ended) OVER (
      PARTITION BY account, uuid ORDER BY spell ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS ended_before
  FROM bounds
)"""

# Clip each spell to that, and drop those that are empty then or end before they begin.
CLIPPED_SPELLS = """spells AS (
  SELECT
    account, uuid, ended,
    CASE WHEN ended_before > began THEN ended_before ELSE began END AS began
  FROM ordered
  WHERE began IS NOT NULL
    AND (ended IS NULL OR (ended > began AND ended > coalesce(ended_before, began)))
)"""

SPELLS = f"{HISTORY_WITH_SPELLS},\n{SPELL_BOUNDS},\n{SPELL_PREDECESSORS},\n{CLIPPED_SPELLS}"

# Apply each change of a charge to the spells that it affects. A change from before a spell counts
# from the spell's beginning, so that all changes up to a moment add up to the charge of then.
BILLED_SPELLS = """billed AS (
  SELECT
    c.account, c.uuid, s.ended, c.more,
    CASE WHEN c.since > s.began THEN c.since ELSE s.began END AS began
  FROM spells s
  JOIN charges c ON c.account = s.account AND c.uuid = s.uuid
  WHERE s.ended IS NULL OR c.since IS NULL OR c.since < s.ended
)"""

# Split spells and charges into additions and subtractions at single moments. Their running sum is
# the inventory at any time, without a join of every month with every number.
SINGLE_MOVES = """moves AS (
  SELECT account, uuid, began AS moment, 1 AS numbers, 0 AS charge FROM spells
  UNION ALL
  SELECT account, uuid, ended, -1, 0 FROM spells WHERE ended IS NOT NULL
  UNION ALL
  SELECT account, uuid, began, 0, more FROM billed
  UNION ALL
  SELECT account, uuid, ended, 0, -more FROM billed WHERE ended IS NOT NULL
)"""

MOVES = f"{BILLED_SPELLS},\n{SINGLE_MOVES}"


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
    ahead for as long as one wrong clock was ahead. A success in the future can't be dated.
    """
    seconds = sql.seconds_since("coalesce(p.recorded_at, p.finished_at)")
    age = sql.seconds_since("coalesce(recorded_at, finished_at)")
    published = ", ".join(f"'{state}'" for state in PUBLISHED)
    return f"""SELECT
  a.account,
  r.id AS last_run_id,
  r.state AS last_run_state,
  r.started_at AS last_run_started_at,
  coalesce(p.recorded_at, p.finished_at) AS last_success_at,
  CASE WHEN {seconds} < 0 THEN 0 ELSE {seconds} END AS seconds_since_success,
  coalesce(n.live, 0) AS live_numbers,
  coalesce(n.cancelled, 0) AS cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    account,
    max(started_at) AS last,
    max(
      CASE WHEN state IN ({published}) AND {age} > -{CLOCK_TOLERANCE} THEN started_at END
    ) AS last_published
  FROM sync_runs
  GROUP BY account
) a
JOIN sync_runs r ON r.account = a.account AND r.started_at = a.last
LEFT JOIN sync_runs p ON p.account = a.account AND p.started_at = a.last_published
LEFT JOIN (
  SELECT
    account,
    count(CASE WHEN lifecycle = 'live' THEN 1 END) AS live,
    count(CASE WHEN lifecycle = 'cancelled' THEN 1 END) AS cancelled
  FROM numbers
  GROUP BY account
) n ON n.account = a.account"""  # noqa: S608 - no values
