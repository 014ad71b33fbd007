"""
What each view selects, for each kind of database.

The two differ in a few words only. Months and their ends are UTC, whatever
zone a session is in. SQLite keeps money as the nearest double, so that sums
there are taken over whole ten-thousandths and divided once, at the end: they
are as exact as those of PostgreSQL's numeric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from syncsvc.schema.tables import number_history, numbers

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
OF_NUMBER = ("number_e164", "range_name", "country_name", "country_alpha2")


class Words(NamedTuple):
    """
    How a database says what the other one says otherwise.

    Attributes:
        now: The time, as its columns keep it.
        month: The first day of a time's month.
        next_month: The first day of the month after a first day.
        exact: An amount in a unit that adds up exactly.
        amount: Such a sum as an amount again.
        seconds_since: Whole seconds from a time to now.
    """

    now: str
    month: Callable[[str], str]
    next_month: Callable[[str], str]
    exact: Callable[[str], str]
    amount: Callable[[str], str]
    seconds_since: Callable[[str], str]


POSTGRESQL = Words(
    now="now()",
    month=lambda time: f"CAST(date_trunc('month', {time} AT TIME ZONE 'UTC') AS date)",
    next_month=lambda day: f"CAST({day} + interval '1 month' AS date)",
    exact=lambda amount: amount,
    amount=lambda total: total,
    seconds_since=lambda time: f"CAST(floor(extract(epoch FROM now() - {time})) AS bigint)",
)
SQLITE = Words(
    now="strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    month=lambda time: f"date({time}, 'start of month')",
    next_month=lambda day: f"date({day}, '+1 month')",
    exact=lambda amount: f"CAST(round({amount} * 10000) AS INTEGER)",
    amount=lambda total: f"{total} / 10000.0",
    seconds_since=lambda time: (
        f"CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', {time}) AS INTEGER)"
    ),
)
WORDS = {"postgresql": POSTGRESQL, "sqlite": SQLITE}


def exact_sum(words: Words, amount: str) -> str:
    """
    The exact sum of amounts; unknown ones count as zero.
    """
    return words.amount(f"coalesce(sum({words.exact(amount)}), 0)")


def live_numbers(_words: Words) -> str:
    """
    Live numbers with both of their addresses.
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


def number_changes(_words: Words) -> str:
    """
    History with what people know a number by.
    """
    columns = [f"h.{column.name}" for column in number_history.c]
    columns += [f"n.{name}" for name in OF_NUMBER]
    return (
        "SELECT\n  " + ",\n  ".join(columns) + "\nFROM number_history h\n"
        "JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid"
    )


def monthly_charges(words: Words) -> str:
    """
    What live numbers cost a month.
    """
    total = exact_sum(words, "monthly_charge")
    return f"""SELECT
  account, country_alpha2, country_name, range_name,
  count(*) AS numbers,
  {total} AS monthly_charge
FROM numbers
WHERE lifecycle = 'live'
GROUP BY account, country_alpha2, country_name, range_name"""  # noqa: S608 - no values


# When each number was live, by when things occurred. In the order in which we learnt of it, a
# spell goes from the earliest of its beginnings to its cancellation, never back into the spell
# before, and is none where it would end before it began. Where pruning took a number's beginning,
# the oldest row that is left stands for it.
SPELLS = """told AS (
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
),
bounds AS (
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
),
ordered AS (
  SELECT
    account, uuid, began, ended,
    max(ended) OVER (
      PARTITION BY account, uuid ORDER BY spell ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS ended_before
  FROM bounds
),
spells AS (
  SELECT
    account, uuid, ended,
    CASE WHEN ended_before > began THEN ended_before ELSE began END AS began
  FROM ordered
  WHERE began IS NOT NULL
    AND (ended IS NULL OR (ended > began AND ended > coalesce(ended_before, began)))
)"""

# So many numbers and so much charge more, or fewer, from a moment on.
MOVES = """billed AS (
  SELECT
    c.account, c.uuid, s.ended, c.more,
    CASE WHEN c.since > s.began THEN c.since ELSE s.began END AS began
  FROM spells s
  JOIN charges c ON c.account = s.account AND c.uuid = s.uuid
  WHERE s.ended IS NULL OR c.since IS NULL OR c.since < s.ended
),
moves AS (
  SELECT account, uuid, began AS moment, 1 AS numbers, 0 AS charge FROM spells
  UNION ALL
  SELECT account, uuid, ended, -1, 0 FROM spells WHERE ended IS NOT NULL
  UNION ALL
  SELECT account, uuid, began, 0, more FROM billed
  UNION ALL
  SELECT account, uuid, ended, 0, -more FROM billed WHERE ended IS NOT NULL
)"""


def inventory_by_month(words: Words) -> str:
    """
    What was live at each month's end: the sum of all moves up to it.
    """
    return f"""WITH RECURSIVE {SPELLS},
{_charges(words)},
{MOVES},
months AS (
  SELECT
    {words.month("m.moment")} AS month, m.account, n.country_alpha2,
    sum(m.numbers) AS numbers, sum(m.charge) AS charge
  FROM moves m
  JOIN numbers n ON n.account = m.account AND n.uuid = m.uuid
  WHERE m.moment <= {words.now}
  GROUP BY 1, 2, 3
),
calendar AS (
  SELECT min(month) AS month, account, country_alpha2 FROM months GROUP BY account, country_alpha2
  UNION ALL
  SELECT {words.next_month("month")}, account, country_alpha2 FROM calendar
  WHERE month < {words.month(words.now)}
),
moved AS (
  SELECT month, account, country_alpha2, numbers, charge FROM months
  UNION ALL
  SELECT month, account, country_alpha2, 0, 0 FROM calendar
)
SELECT
  month, account, country_alpha2,
  CAST(sum(sum(numbers)) OVER so_far AS bigint) AS numbers,
  {words.amount("sum(sum(charge)) OVER so_far")} AS monthly_charge
FROM moved
GROUP BY month, account, country_alpha2
WINDOW so_far AS (PARTITION BY account, country_alpha2 ORDER BY month)"""  # noqa: S608 - no values


def _charges(words: Words) -> str:
    """
    Each change of a number's charge by when we knew it; the first row's holds since ever.

    Where the first row has none, the first one known holds until that row.
    """
    charge = words.exact("coalesce(monthly_charge, 0)")
    before = words.exact("coalesce(charge_before, 0)")
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


def churn_by_month(words: Words) -> str:
    """
    What happened in each month.
    """
    counted = ",\n  ".join(
        f"count(CASE WHEN h.event = '{event}' THEN 1 END) AS {event}"
        for event in ("added", "provisioned", "reinstated", "cancelled")
    )
    return f"""SELECT
  {words.month("h.occurred_at")} AS month, h.account, n.country_alpha2,
  {counted}
FROM number_history h
JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid
WHERE h.event <> 'changed'
GROUP BY 1, 2, 3"""  # noqa: S608 - no values


def numbers_without_emergency_address(_words: Words) -> str:
    """
    Live numbers that emergency services could not place.
    """
    return "SELECT * FROM live_numbers WHERE emergency_number_address_id IS NULL"


def numbers_without_proof_of_address(_words: Words) -> str:
    """
    Live numbers without an address of their own.
    """
    return "SELECT * FROM live_numbers WHERE number_address_id IS NULL"


def sync_status(words: Words) -> str:
    """
    How each account stands, the ones that only ever failed too.
    """
    seconds = words.seconds_since("p.finished_at")
    return f"""SELECT
  a.account,
  r.id AS last_run_id,
  r.state AS last_run_state,
  r.started_at AS last_run_started_at,
  p.finished_at AS last_success_at,
  CASE WHEN {seconds} < 0 THEN 0 ELSE {seconds} END AS seconds_since_success,
  coalesce(n.live, 0) AS live_numbers,
  coalesce(n.cancelled, 0) AS cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    account,
    max(started_at) AS last,
    max(CASE WHEN state IN ('succeeded', 'withheld') THEN started_at END) AS last_published
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
