"""
The periods ("spells") in which each number was live, by the times at which things occurred.

The history is in the order in which we learned of things, which may be another one. These are
common table expressions, each built on the one before, for `view_queries.inventory_by_month`.
"""

from __future__ import annotations

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
