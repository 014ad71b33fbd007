"""
How each account stands, in a row of its own, and keys that begin with the account.

Accounts are asked for by the thousand and every few seconds: not from all runs and all numbers.
With keys that begin with the account, PostgreSQL can partition the tables by it. SQLite keeps its
keys: only a lone INTEGER key numbers itself. A run of the version before that is in progress goes
on; its account's row is right again after the next run.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBERED = ("sync_runs", "number_history", "address_history", "sync_rejects")
REFERRING = ("sync_rejects", "withheld_cancellations")  # to a run, by a foreign key
REFERENCE = {"account": "account", "id": "run_id"}

SECONDS = {
    "postgresql": "extract(epoch FROM coalesce(e.recorded_at, e.finished_at) - e.started_at)",
    "sqlite": "round((julianday(coalesce(e.recorded_at, e.finished_at)) - julianday(e.started_at)) * 86400, 3)",
}
FILL = """INSERT INTO account_status (
  account, failures, last_run_id, last_state, last_started_at, last_finished_at, last_success_at,
  last_error, last_seconds, live_numbers, cancelled_numbers, withheld, rejected
)
SELECT
  a.account,
  (
    SELECT count(*) FROM sync_runs f
    WHERE f.account = a.account AND f.state IN ('failed', 'crashed')
      AND (a.last_published IS NULL OR f.started_at > a.last_published)
  ),
  r.id,
  r.state,
  r.started_at,
  e.finished_at,
  coalesce(p.recorded_at, p.finished_at),
  e.error,
  CASE WHEN {seconds} < 0 THEN 0 ELSE {seconds} END,
  coalesce(n.live, 0),
  coalesce(n.cancelled, 0),
  coalesce(p.withheld, 0),
  coalesce(p.rejected, 0)
FROM (
  SELECT
    account,
    max(started_at) AS last,
    max(CASE WHEN state <> 'running' THEN started_at END) AS last_ended,
    max(CASE WHEN state IN ('succeeded', 'withheld') THEN started_at END) AS last_published
  FROM sync_runs
  GROUP BY account
) a
JOIN sync_runs r ON r.account = a.account AND r.started_at = a.last
LEFT JOIN sync_runs e ON e.account = a.account AND e.started_at = a.last_ended
LEFT JOIN sync_runs p ON p.account = a.account AND p.started_at = a.last_published
LEFT JOIN (
  SELECT
    account,
    count(CASE WHEN lifecycle = 'live' THEN 1 END) AS live,
    count(CASE WHEN lifecycle = 'cancelled' THEN 1 END) AS cancelled
  FROM numbers
  GROUP BY account
) n ON n.account = a.account"""

NEW_VIEW = {
    "sqlite": """CREATE VIEW sync_status AS
SELECT
  s.account,
  s.last_run_id,
  s.last_state AS last_run_state,
  s.last_started_at AS last_run_started_at,
  s.last_success_at,
  CASE WHEN CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', s.last_success_at) AS INTEGER) < 0 THEN 0 ELSE CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', s.last_success_at) AS INTEGER) END AS seconds_since_success,
  s.live_numbers,
  s.cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    a.account, last_run_id, last_state, last_started_at, live_numbers, cancelled_numbers,
    CASE WHEN CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', last_success_at) AS INTEGER) > -300 THEN last_success_at ELSE (
      SELECT coalesce(p.recorded_at, p.finished_at)
      FROM sync_runs p
      WHERE p.account = a.account AND p.state IN ('succeeded', 'withheld')
        AND CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', coalesce(p.recorded_at, p.finished_at)) AS INTEGER) > -300 AND a.last_success_at IS NOT NULL
      ORDER BY p.started_at DESC
      LIMIT 1
    ) END AS last_success_at
  FROM account_status a
  WHERE last_run_id IS NOT NULL
) s
LEFT JOIN sync_runs r ON r.account = s.account AND r.id = s.last_run_id""",
    "postgresql": """CREATE VIEW sync_status AS
SELECT
  s.account,
  s.last_run_id,
  s.last_state AS last_run_state,
  s.last_started_at AS last_run_started_at,
  s.last_success_at,
  CASE WHEN CAST(floor(extract(epoch FROM now() - s.last_success_at)) AS bigint) < 0 THEN 0 ELSE CAST(floor(extract(epoch FROM now() - s.last_success_at)) AS bigint) END AS seconds_since_success,
  s.live_numbers,
  s.cancelled_numbers,
  r.withheld,
  r.rejected
FROM (
  SELECT
    a.account, last_run_id, last_state, last_started_at, live_numbers, cancelled_numbers,
    CASE WHEN CAST(floor(extract(epoch FROM now() - last_success_at)) AS bigint) > -300 THEN last_success_at ELSE (
      SELECT coalesce(p.recorded_at, p.finished_at)
      FROM sync_runs p
      WHERE p.account = a.account AND p.state IN ('succeeded', 'withheld')
        AND CAST(floor(extract(epoch FROM now() - coalesce(p.recorded_at, p.finished_at))) AS bigint) > -300 AND a.last_success_at IS NOT NULL
      ORDER BY p.started_at DESC
      LIMIT 1
    ) END AS last_success_at
  FROM account_status a
  WHERE last_run_id IS NOT NULL
) s
LEFT JOIN sync_runs r ON r.account = s.account AND r.id = s.last_run_id""",
}
OLD_VIEW = {
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


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        _change_keys(["id"], ["account", "id"])
    _create_account_status()
    op.execute(FILL.format(seconds=SECONDS[dialect]))
    _replace_view(NEW_VIEW)


def downgrade() -> None:
    _replace_view(OLD_VIEW)
    op.drop_table("account_status")
    if op.get_context().dialect.name == "postgresql":
        _change_keys(["account", "id"], ["id"])


def _change_keys(old: list[str], new: list[str]) -> None:
    """
    Change the key of the numbered tables, and the foreign keys to runs with it.
    """
    for table in REFERRING:
        op.drop_constraint(_name_of_reference(table, old), table, type_="foreignkey")
    for table in NUMBERED:
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.create_primary_key(op.f(f"pk_{table}"), table, new)
    for table in REFERRING:
        name, columns = _name_of_reference(table, new), [REFERENCE[column] for column in new]
        op.create_foreign_key(name, table, "sync_runs", columns, new, ondelete="CASCADE")


def _name_of_reference(table: str, key: list[str]) -> str:
    return op.f(f"fk_{table}_{'_'.join(REFERENCE[column] for column in key)}")


def _replace_view(statements: dict[str, str]) -> None:
    """
    Replace the view in place on PostgreSQL, where that keeps what was granted on it.
    """
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP VIEW sync_status")
        op.execute(statements["sqlite"])
        return
    op.execute(statements["postgresql"].replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))


def _create_account_status() -> None:
    op.create_table(
        "account_status",
        sa.Column(
            "account",
            sa.Text(),
            nullable=False,
            comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
        ),
        sa.Column(
            "host",
            sa.Text(),
            nullable=True,
            comment="Origin of the provider's address; NULL before its first run.",
        ),
        sa.Column(
            "next_run_at",
            TIME,
            nullable=True,
            comment="When it is due next, by the database's clock; NULL until a run has said so. UTC.",
        ),
        sa.Column(
            "lane",
            sa.Text(),
            nullable=False,
            server_default="fast",
            comment="fast, or slow if the last run that ended took long.",
        ),
        sa.Column(
            "failures",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Ended runs in a row that published nothing.",
        ),
        sa.Column(
            "attention",
            sa.Text(),
            nullable=True,
            comment="Why somebody has to act; NULL if nobody has to.",
        ),
        sa.Column(
            "last_run_id",
            sa.BigInteger(),
            nullable=True,
            comment="The last run; NULL before its first one.",
        ),
        sa.Column(
            "last_state",
            sa.Text(),
            nullable=True,
            comment="State of the last run: running, succeeded, withheld, failed or crashed.",
        ),
        sa.Column("last_started_at", TIME, nullable=True, comment="Start of the last run. UTC."),
        sa.Column(
            "last_finished_at",
            TIME,
            nullable=True,
            comment="End of the last run that ended; NULL if there is none. UTC.",
        ),
        sa.Column(
            "last_success_at",
            TIME,
            nullable=True,
            comment="End of the last run that published, cancellations withheld or not, by the clock of its machine; NULL if there is none. UTC.",
        ),
        sa.Column(
            "last_error",
            sa.Text(),
            nullable=True,
            comment="Why the last run that ended published nothing; NULL if it published.",
        ),
        sa.Column(
            "last_seconds",
            sa.Double(),
            nullable=True,
            comment="How long the last run that ended took, in seconds.",
        ),
        sa.Column(
            "live_numbers",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Numbers that are live.",
        ),
        sa.Column(
            "cancelled_numbers",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Numbers that are cancelled.",
        ),
        sa.Column(
            "withheld",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Cancellations that the last run that published did not accept.",
        ),
        sa.Column(
            "rejected",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Rows that the last run that published could not read.",
        ),
        sa.CheckConstraint("lane IN ('fast', 'slow')", name=op.f("ck_account_status_lane_known")),
        sa.CheckConstraint(
            "last_state IN ('running', 'succeeded', 'withheld', 'failed', 'crashed')",
            name=op.f("ck_account_status_last_state_known"),
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_account_status")),
        comment="How each account that ever ran stands. Its run writes it, in its own transaction.",
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(op.f("ix_account_status_next_run_at"), "account_status", ["next_run_at"])
