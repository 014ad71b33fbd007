"""
The success of an account, by the clock of the machine that recorded it.

A run is dated after the one before, so that one run under a clock that was ahead dated all later
ones ahead, and the age of the last success was 0 for as long. The version before runs on: it
leaves the new column empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW = {
    "sqlite": """CREATE VIEW sync_status AS
SELECT
  a.account,
  r.id AS last_run_id,
  r.state AS last_run_state,
  r.started_at AS last_run_started_at,
  coalesce(p.recorded_at, p.finished_at) AS last_success_at,
  CASE WHEN CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', coalesce(p.recorded_at, p.finished_at)) AS INTEGER) < 0 THEN 0 ELSE CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', coalesce(p.recorded_at, p.finished_at)) AS INTEGER) END AS seconds_since_success,
  coalesce(n.live, 0) AS live_numbers,
  coalesce(n.cancelled, 0) AS cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    account,
    max(started_at) AS last,
    max(
      CASE WHEN state IN ('succeeded', 'withheld') AND CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', coalesce(recorded_at, finished_at)) AS INTEGER) > -300 THEN started_at END
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
) n ON n.account = a.account""",
    "postgresql": """CREATE VIEW sync_status AS
SELECT
  a.account,
  r.id AS last_run_id,
  r.state AS last_run_state,
  r.started_at AS last_run_started_at,
  coalesce(p.recorded_at, p.finished_at) AS last_success_at,
  CASE WHEN CAST(floor(extract(epoch FROM now() - coalesce(p.recorded_at, p.finished_at))) AS bigint) < 0 THEN 0 ELSE CAST(floor(extract(epoch FROM now() - coalesce(p.recorded_at, p.finished_at))) AS bigint) END AS seconds_since_success,
  coalesce(n.live, 0) AS live_numbers,
  coalesce(n.cancelled, 0) AS cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    account,
    max(started_at) AS last,
    max(
      CASE WHEN state IN ('succeeded', 'withheld') AND CAST(floor(extract(epoch FROM now() - coalesce(recorded_at, finished_at))) AS bigint) > -300 THEN started_at END
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
) n ON n.account = a.account""",
}
OLD = {
    "sqlite": """CREATE VIEW sync_status AS
SELECT
  a.account,
  r.id AS last_run_id,
  r.state AS last_run_state,
  r.started_at AS last_run_started_at,
  p.finished_at AS last_success_at,
  CASE WHEN CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', p.finished_at) AS INTEGER) < 0 THEN 0 ELSE CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', p.finished_at) AS INTEGER) END AS seconds_since_success,
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
) n ON n.account = a.account""",
    "postgresql": """CREATE VIEW sync_status AS
SELECT
  a.account,
  r.id AS last_run_id,
  r.state AS last_run_state,
  r.started_at AS last_run_started_at,
  p.finished_at AS last_success_at,
  CASE WHEN CAST(floor(extract(epoch FROM now() - p.finished_at)) AS bigint) < 0 THEN 0 ELSE CAST(floor(extract(epoch FROM now() - p.finished_at)) AS bigint) END AS seconds_since_success,
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
) n ON n.account = a.account""",
}
NEW_COMMENT = (
    "End of the last run that published, cancellations withheld or not, by the clock of "
    "its machine; runs from a clock that was ahead are left out. NULL if there is none. "
    "UTC."
)
OLD_COMMENT = (
    "End of the last run that published, cancellations withheld or not; NULL if none ever did. UTC."
)


def upgrade() -> None:
    op.add_column(
        "sync_runs",
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            comment="End by the clock of its machine, which differs from finished_at if an earlier "
            "run's clock was ahead; NULL in runs of older versions. UTC.",
        ),
    )
    _replace_view(NEW, NEW_COMMENT)


def downgrade() -> None:
    _replace_view(OLD, OLD_COMMENT)
    op.drop_column("sync_runs", "recorded_at")


def _replace_view(statements: dict[str, str], comment: str) -> None:
    """
    Replace the view in place on PostgreSQL, where that keeps what was granted on it.
    """
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP VIEW sync_status")
        op.execute(statements["sqlite"])
        return
    op.execute(statements["postgresql"].replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    op.execute(f"COMMENT ON COLUMN sync_status.last_success_at IS '{comment}'")
