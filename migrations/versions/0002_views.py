"""
The views for reports, the inventory as of a moment, and what finds the rows of one day.

They add and change nothing else, so that the version before runs on.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQLITE = (
    """CREATE VIEW live_numbers AS
SELECT
  n.account,
  n.uuid,
  n.number_e164,
  n.number,
  n.range_code,
  n.range_name,
  n.country_code,
  n.country_name,
  n.country_iso,
  n.country_alpha2,
  n.lifecycle,
  n.status,
  n.monthly_charge,
  n.setup_charge,
  n.provisioned_at,
  n.cancelled_at,
  n.number_address_id,
  n.emergency_number_address_id,
  n.details_status,
  n.details_provisioned_at,
  n.extra,
  n.first_seen_at,
  n.changed_at,
  n.first_run_id,
  n.changed_run_id,
  number_address.name AS number_address_name,
  number_address.use_for_proof_of_address AS number_address_use_for_proof_of_address,
  number_address.use_for_emergency_address AS number_address_use_for_emergency_address,
  number_address.address_line1 AS number_address_line1,
  number_address.address_line2 AS number_address_line2,
  number_address.address_city AS number_address_city,
  number_address.address_region AS number_address_region,
  number_address.address_postal_code AS number_address_postal_code,
  number_address.country_name AS number_address_country_name,
  number_address.country_iso AS number_address_country_iso,
  emergency_number_address.name AS emergency_number_address_name,
  emergency_number_address.use_for_proof_of_address AS emergency_number_address_use_for_proof_of_address,
  emergency_number_address.use_for_emergency_address AS emergency_number_address_use_for_emergency_address,
  emergency_number_address.address_line1 AS emergency_number_address_line1,
  emergency_number_address.address_line2 AS emergency_number_address_line2,
  emergency_number_address.address_city AS emergency_number_address_city,
  emergency_number_address.address_region AS emergency_number_address_region,
  emergency_number_address.address_postal_code AS emergency_number_address_postal_code,
  emergency_number_address.country_name AS emergency_number_address_country_name,
  emergency_number_address.country_iso AS emergency_number_address_country_iso
FROM numbers n
LEFT JOIN addresses number_address ON number_address.account = n.account AND number_address.id = n.number_address_id
LEFT JOIN addresses emergency_number_address ON emergency_number_address.account = n.account AND emergency_number_address.id = n.emergency_number_address_id
WHERE n.lifecycle = 'live'""",
    """CREATE VIEW number_changes AS
SELECT
  h.id,
  h.account,
  h.uuid,
  h.run_id,
  h.event,
  h.occurred_at,
  h.occurred_at_source,
  h.evidence,
  h.valid_from,
  h.valid_to,
  h.lifecycle,
  h.status,
  h.monthly_charge,
  h.setup_charge,
  h.provisioned_at,
  h.cancelled_at,
  h.number_address_id,
  h.emergency_number_address_id,
  h.changes,
  n.number_e164,
  n.range_name,
  n.country_name,
  n.country_alpha2
FROM number_history h
JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid""",
    """CREATE VIEW monthly_charges AS
SELECT
  account, country_alpha2, country_name, range_name,
  count(*) AS numbers,
  coalesce(sum(CAST(round(monthly_charge * 10000) AS INTEGER)), 0) / 10000.0 AS monthly_charge
FROM numbers
WHERE lifecycle = 'live'
GROUP BY account, country_alpha2, country_name, range_name""",
    """CREATE VIEW inventory_by_month AS
WITH RECURSIVE told AS (
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
),
charges AS (
  SELECT
    account, uuid, CASE WHEN place > 1 THEN valid_from END AS since, CAST(round(coalesce(monthly_charge, 0) * 10000) AS INTEGER) - CAST(round(coalesce(charge_before, 0) * 10000) AS INTEGER) AS more
  FROM told
  WHERE coalesce(monthly_charge, 0) <> coalesce(charge_before, 0)
  UNION ALL
  SELECT account, uuid, CASE WHEN sign < 0 THEN seen_at END, sign * CAST(round(coalesce(monthly_charge, 0) * 10000) AS INTEGER)
  FROM told CROSS JOIN (SELECT 1 AS sign UNION ALL SELECT -1) signs
  WHERE charges_known = 1 AND place > 1 AND charge_before IS NULL AND monthly_charge <> 0
),
billed AS (
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
),
months AS (
  SELECT
    date(m.moment, 'start of month') AS month, m.account, n.country_alpha2,
    sum(m.numbers) AS numbers, sum(m.charge) AS charge
  FROM moves m
  JOIN numbers n ON n.account = m.account AND n.uuid = m.uuid
  WHERE m.moment <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
  GROUP BY 1, 2, 3
),
calendar AS (
  SELECT min(month) AS month, account, country_alpha2 FROM months GROUP BY account, country_alpha2
  UNION ALL
  SELECT date(month, '+1 month'), account, country_alpha2 FROM calendar
  WHERE month < date(strftime('%Y-%m-%d %H:%M:%f000', 'now'), 'start of month')
),
moved AS (
  SELECT month, account, country_alpha2, numbers, charge FROM months
  UNION ALL
  SELECT month, account, country_alpha2, 0, 0 FROM calendar
)
SELECT
  month, account, country_alpha2,
  CAST(sum(sum(numbers)) OVER so_far AS bigint) AS numbers,
  sum(sum(charge)) OVER so_far / 10000.0 AS monthly_charge
FROM moved
GROUP BY month, account, country_alpha2
WINDOW so_far AS (PARTITION BY account, country_alpha2 ORDER BY month)""",
    """CREATE VIEW churn_by_month AS
SELECT
  date(h.occurred_at, 'start of month') AS month, h.account, n.country_alpha2,
  count(CASE WHEN h.event = 'added' THEN 1 END) AS added,
  count(CASE WHEN h.event = 'provisioned' THEN 1 END) AS provisioned,
  count(CASE WHEN h.event = 'reinstated' THEN 1 END) AS reinstated,
  count(CASE WHEN h.event = 'cancelled' THEN 1 END) AS cancelled
FROM number_history h
JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid
WHERE h.event <> 'changed'
GROUP BY 1, 2, 3""",
    """CREATE VIEW numbers_without_emergency_address AS
SELECT * FROM live_numbers WHERE emergency_number_address_id IS NULL""",
    """CREATE VIEW numbers_without_proof_of_address AS
SELECT * FROM live_numbers WHERE number_address_id IS NULL""",
    """CREATE VIEW sync_status AS
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
)
POSTGRESQL = (
    """CREATE VIEW live_numbers AS
SELECT
  n.account,
  n.uuid,
  n.number_e164,
  n.number,
  n.range_code,
  n.range_name,
  n.country_code,
  n.country_name,
  n.country_iso,
  n.country_alpha2,
  n.lifecycle,
  n.status,
  n.monthly_charge,
  n.setup_charge,
  n.provisioned_at,
  n.cancelled_at,
  n.number_address_id,
  n.emergency_number_address_id,
  n.details_status,
  n.details_provisioned_at,
  n.extra,
  n.first_seen_at,
  n.changed_at,
  n.first_run_id,
  n.changed_run_id,
  number_address.name AS number_address_name,
  number_address.use_for_proof_of_address AS number_address_use_for_proof_of_address,
  number_address.use_for_emergency_address AS number_address_use_for_emergency_address,
  number_address.address_line1 AS number_address_line1,
  number_address.address_line2 AS number_address_line2,
  number_address.address_city AS number_address_city,
  number_address.address_region AS number_address_region,
  number_address.address_postal_code AS number_address_postal_code,
  number_address.country_name AS number_address_country_name,
  number_address.country_iso AS number_address_country_iso,
  emergency_number_address.name AS emergency_number_address_name,
  emergency_number_address.use_for_proof_of_address AS emergency_number_address_use_for_proof_of_address,
  emergency_number_address.use_for_emergency_address AS emergency_number_address_use_for_emergency_address,
  emergency_number_address.address_line1 AS emergency_number_address_line1,
  emergency_number_address.address_line2 AS emergency_number_address_line2,
  emergency_number_address.address_city AS emergency_number_address_city,
  emergency_number_address.address_region AS emergency_number_address_region,
  emergency_number_address.address_postal_code AS emergency_number_address_postal_code,
  emergency_number_address.country_name AS emergency_number_address_country_name,
  emergency_number_address.country_iso AS emergency_number_address_country_iso
FROM numbers n
LEFT JOIN addresses number_address ON number_address.account = n.account AND number_address.id = n.number_address_id
LEFT JOIN addresses emergency_number_address ON emergency_number_address.account = n.account AND emergency_number_address.id = n.emergency_number_address_id
WHERE n.lifecycle = 'live'""",
    """CREATE VIEW number_changes AS
SELECT
  h.id,
  h.account,
  h.uuid,
  h.run_id,
  h.event,
  h.occurred_at,
  h.occurred_at_source,
  h.evidence,
  h.valid_from,
  h.valid_to,
  h.lifecycle,
  h.status,
  h.monthly_charge,
  h.setup_charge,
  h.provisioned_at,
  h.cancelled_at,
  h.number_address_id,
  h.emergency_number_address_id,
  h.changes,
  n.number_e164,
  n.range_name,
  n.country_name,
  n.country_alpha2
FROM number_history h
JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid""",
    """CREATE VIEW monthly_charges AS
SELECT
  account, country_alpha2, country_name, range_name,
  count(*) AS numbers,
  coalesce(sum(monthly_charge), 0) AS monthly_charge
FROM numbers
WHERE lifecycle = 'live'
GROUP BY account, country_alpha2, country_name, range_name""",
    """CREATE VIEW inventory_by_month AS
WITH RECURSIVE told AS (
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
),
charges AS (
  SELECT
    account, uuid, CASE WHEN place > 1 THEN valid_from END AS since, coalesce(monthly_charge, 0) - coalesce(charge_before, 0) AS more
  FROM told
  WHERE coalesce(monthly_charge, 0) <> coalesce(charge_before, 0)
  UNION ALL
  SELECT account, uuid, CASE WHEN sign < 0 THEN seen_at END, sign * coalesce(monthly_charge, 0)
  FROM told CROSS JOIN (SELECT 1 AS sign UNION ALL SELECT -1) signs
  WHERE charges_known = 1 AND place > 1 AND charge_before IS NULL AND monthly_charge <> 0
),
billed AS (
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
),
months AS (
  SELECT
    CAST(date_trunc('month', m.moment AT TIME ZONE 'UTC') AS date) AS month, m.account, n.country_alpha2,
    sum(m.numbers) AS numbers, sum(m.charge) AS charge
  FROM moves m
  JOIN numbers n ON n.account = m.account AND n.uuid = m.uuid
  WHERE m.moment <= now()
  GROUP BY 1, 2, 3
),
calendar AS (
  SELECT min(month) AS month, account, country_alpha2 FROM months GROUP BY account, country_alpha2
  UNION ALL
  SELECT CAST(month + interval '1 month' AS date), account, country_alpha2 FROM calendar
  WHERE month < CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date)
),
moved AS (
  SELECT month, account, country_alpha2, numbers, charge FROM months
  UNION ALL
  SELECT month, account, country_alpha2, 0, 0 FROM calendar
)
SELECT
  month, account, country_alpha2,
  CAST(sum(sum(numbers)) OVER so_far AS bigint) AS numbers,
  sum(sum(charge)) OVER so_far AS monthly_charge
FROM moved
GROUP BY month, account, country_alpha2
WINDOW so_far AS (PARTITION BY account, country_alpha2 ORDER BY month)""",
    """CREATE VIEW churn_by_month AS
SELECT
  CAST(date_trunc('month', h.occurred_at AT TIME ZONE 'UTC') AS date) AS month, h.account, n.country_alpha2,
  count(CASE WHEN h.event = 'added' THEN 1 END) AS added,
  count(CASE WHEN h.event = 'provisioned' THEN 1 END) AS provisioned,
  count(CASE WHEN h.event = 'reinstated' THEN 1 END) AS reinstated,
  count(CASE WHEN h.event = 'cancelled' THEN 1 END) AS cancelled
FROM number_history h
JOIN numbers n ON n.account = h.account AND n.uuid = h.uuid
WHERE h.event <> 'changed'
GROUP BY 1, 2, 3""",
    """CREATE VIEW numbers_without_emergency_address AS
SELECT * FROM live_numbers WHERE emergency_number_address_id IS NULL""",
    """CREATE VIEW numbers_without_proof_of_address AS
SELECT * FROM live_numbers WHERE number_address_id IS NULL""",
    """CREATE VIEW sync_status AS
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
    """CREATE FUNCTION inventory_as_of(moment timestamptz) RETURNS TABLE (account text, uuid text, number_e164 text, range_name text, country_name text, country_alpha2 text, lifecycle text, status text, monthly_charge numeric, setup_charge numeric, provisioned_at timestamptz, cancelled_at timestamptz, number_address_id bigint, emergency_number_address_id bigint, valid_from timestamptz, valid_to timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT c.account, c.uuid, c.number_e164, c.range_name, c.country_name, c.country_alpha2, c.lifecycle, c.status, c.monthly_charge, c.setup_charge, c.provisioned_at, c.cancelled_at, c.number_address_id, c.emergency_number_address_id, c.valid_from, c.valid_to
  FROM number_changes c
  WHERE c.valid_from <= moment AND (c.valid_to IS NULL OR c.valid_to > moment);
END""",
)
COMMENTS = (
    "COMMENT ON VIEW live_numbers IS 'One row for each live number, with both of its addresses.'",
    "COMMENT ON COLUMN live_numbers.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN live_numbers.uuid IS 'The provider''s uuid of the number, lower case.'",
    "COMMENT ON COLUMN live_numbers.number_e164 IS 'The number in E.164.'",
    "COMMENT ON COLUMN live_numbers.number IS 'The local number.'",
    "COMMENT ON COLUMN live_numbers.range_code IS 'Range code.'",
    "COMMENT ON COLUMN live_numbers.range_name IS 'Range, such as number type or area.'",
    "COMMENT ON COLUMN live_numbers.country_code IS 'Country dialling code.'",
    "COMMENT ON COLUMN live_numbers.country_name IS 'Country, as the provider names it.'",
    "COMMENT ON COLUMN live_numbers.country_iso IS 'Country code, as the provider sends it (UK).'",
    "COMMENT ON COLUMN live_numbers.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON COLUMN live_numbers.lifecycle IS 'live, or cancelled on the evidence in the history.'",
    "COMMENT ON COLUMN live_numbers.status IS 'The provider''s status, as sent.'",
    "COMMENT ON COLUMN live_numbers.monthly_charge IS 'Cost per month, in the account''s currency.'",
    "COMMENT ON COLUMN live_numbers.setup_charge IS 'Cost once, in the account''s currency.'",
    "COMMENT ON COLUMN live_numbers.provisioned_at IS 'When the provider says it was provisioned to the account. UTC.'",
    "COMMENT ON COLUMN live_numbers.cancelled_at IS 'When it was cancelled: the provider''s timestamp, or for a number that went missing the start of the run that found it gone. UTC.'",
    "COMMENT ON COLUMN live_numbers.number_address_id IS 'Its address; NULL if none.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_id IS 'The address registered with the emergency services; NULL if none.'",
    "COMMENT ON COLUMN live_numbers.details_status IS 'Status inside the number''s details, as sent.'",
    "COMMENT ON COLUMN live_numbers.details_provisioned_at IS 'Provisioned timestamp inside the number''s details. UTC.'",
    "COMMENT ON COLUMN live_numbers.extra IS 'Fields that this version does not know, as sent (JSON object); NULL if none.'",
    "COMMENT ON COLUMN live_numbers.first_seen_at IS 'Start of the first run. UTC.'",
    "COMMENT ON COLUMN live_numbers.changed_at IS 'Start of the last change. UTC.'",
    "COMMENT ON COLUMN live_numbers.first_run_id IS 'Run that saw it first.'",
    "COMMENT ON COLUMN live_numbers.changed_run_id IS 'Run that changed it last.'",
    "COMMENT ON COLUMN live_numbers.number_address_name IS 'Of its address: The provider''s name for the address.'",
    "COMMENT ON COLUMN live_numbers.number_address_use_for_proof_of_address IS 'Of its address: Whether it serves as proof of address (useForProofOfAddress).'",
    "COMMENT ON COLUMN live_numbers.number_address_use_for_emergency_address IS 'Of its address: Whether it serves as emergency address (useForEmergencyAddress).'",
    "COMMENT ON COLUMN live_numbers.number_address_line1 IS 'Of its address: First line.'",
    "COMMENT ON COLUMN live_numbers.number_address_line2 IS 'Of its address: Second line.'",
    "COMMENT ON COLUMN live_numbers.number_address_city IS 'Of its address: City.'",
    "COMMENT ON COLUMN live_numbers.number_address_region IS 'Of its address: Region.'",
    "COMMENT ON COLUMN live_numbers.number_address_postal_code IS 'Of its address: Postal code.'",
    "COMMENT ON COLUMN live_numbers.number_address_country_name IS 'Of its address: Country, as the provider names it.'",
    "COMMENT ON COLUMN live_numbers.number_address_country_iso IS 'Of its address: Country code, as the provider sends it.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_name IS 'Of its emergency one: The provider''s name for the address.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_use_for_proof_of_address IS 'Of its emergency one: Whether it serves as proof of address (useForProofOfAddress).'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_use_for_emergency_address IS 'Of its emergency one: Whether it serves as emergency address (useForEmergencyAddress).'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_line1 IS 'Of its emergency one: First line.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_line2 IS 'Of its emergency one: Second line.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_city IS 'Of its emergency one: City.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_region IS 'Of its emergency one: Region.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_postal_code IS 'Of its emergency one: Postal code.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_country_name IS 'Of its emergency one: Country, as the provider names it.'",
    "COMMENT ON COLUMN live_numbers.emergency_number_address_country_iso IS 'Of its emergency one: Country code, as the provider sends it.'",
    "COMMENT ON VIEW number_changes IS 'One row for each change of a number, with what people know the number by. Number, range and country are those of now.'",
    "COMMENT ON COLUMN number_changes.id IS 'Order in which rows were written.'",
    "COMMENT ON COLUMN number_changes.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN number_changes.uuid IS 'The number, by its uuid.'",
    "COMMENT ON COLUMN number_changes.run_id IS 'Run that wrote the row.'",
    "COMMENT ON COLUMN number_changes.event IS 'added, provisioned, cancelled, reinstated or changed.'",
    "COMMENT ON COLUMN number_changes.occurred_at IS 'When it happened: the provider''s timestamp if it gives one, else the run''s.'",
    "COMMENT ON COLUMN number_changes.occurred_at_source IS 'provider: its own timestamp; observed: the start of the run that saw it.'",
    "COMMENT ON COLUMN number_changes.evidence IS 'listing, cancelled_listing, or absence from a listing proved complete.'",
    "COMMENT ON COLUMN number_changes.valid_from IS 'Start of the run that wrote the row: from then on we knew it. UTC.'",
    "COMMENT ON COLUMN number_changes.valid_to IS 'Start of the run that wrote the next row; NULL on the newest. UTC.'",
    "COMMENT ON COLUMN number_changes.lifecycle IS 'live, or cancelled on the evidence in the history.'",
    "COMMENT ON COLUMN number_changes.status IS 'The provider''s status, as sent.'",
    "COMMENT ON COLUMN number_changes.monthly_charge IS 'Cost per month, in the account''s currency.'",
    "COMMENT ON COLUMN number_changes.setup_charge IS 'Cost once, in the account''s currency.'",
    "COMMENT ON COLUMN number_changes.provisioned_at IS 'When the provider says it was provisioned to the account. UTC.'",
    "COMMENT ON COLUMN number_changes.cancelled_at IS 'When it was cancelled: the provider''s timestamp, or for a number that went missing the start of the run that found it gone. UTC.'",
    "COMMENT ON COLUMN number_changes.number_address_id IS 'Its address; NULL if none.'",
    "COMMENT ON COLUMN number_changes.emergency_number_address_id IS 'The address registered with the emergency services; NULL if none.'",
    'COMMENT ON COLUMN number_changes.changes IS \'Every changed column as {"column": {"old": …, "new": …}}; NULL on a first row. Amounts are strings with 4 places, times ISO 8601 in UTC.\'',
    "COMMENT ON COLUMN number_changes.number_e164 IS 'The number in E.164.'",
    "COMMENT ON COLUMN number_changes.range_name IS 'Range, such as number type or area.'",
    "COMMENT ON COLUMN number_changes.country_name IS 'Country, as the provider names it.'",
    "COMMENT ON COLUMN number_changes.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON VIEW monthly_charges IS 'What the live numbers cost a month, by account, country and range.'",
    "COMMENT ON COLUMN monthly_charges.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN monthly_charges.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON COLUMN monthly_charges.country_name IS 'Country, as the provider names it.'",
    "COMMENT ON COLUMN monthly_charges.range_name IS 'Range, such as number type or area.'",
    "COMMENT ON COLUMN monthly_charges.numbers IS 'Live numbers.'",
    "COMMENT ON COLUMN monthly_charges.monthly_charge IS 'Their cost per month, summed exactly; a charge that is not known counts as nothing.'",
    "COMMENT ON VIEW inventory_by_month IS 'What was live at the end of each month, by account and country, from the month in which the country''s first number went live. The country is the number''s of now.'",
    "COMMENT ON COLUMN inventory_by_month.month IS 'Told by its end, or by now if it is the current month. First day of the month, UTC.'",
    "COMMENT ON COLUMN inventory_by_month.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN inventory_by_month.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON COLUMN inventory_by_month.numbers IS 'Numbers that were live then, going by when things occurred.'",
    "COMMENT ON COLUMN inventory_by_month.monthly_charge IS 'Their cost per month, summed exactly, at the charges known then; before a charge was known, at the first one known. One that is not known counts as nothing.'",
    "COMMENT ON VIEW churn_by_month IS 'What happened in each month, by account and country; months in which nothing did have no row. The country is the number''s of now.'",
    "COMMENT ON COLUMN churn_by_month.month IS 'When things occurred. First day of the month, UTC.'",
    "COMMENT ON COLUMN churn_by_month.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN churn_by_month.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON COLUMN churn_by_month.added IS 'Numbers first seen, not provisioned yet.'",
    "COMMENT ON COLUMN churn_by_month.provisioned IS 'Numbers provisioned, or given another provisioned timestamp.'",
    "COMMENT ON COLUMN churn_by_month.reinstated IS 'Numbers live again after they were cancelled.'",
    "COMMENT ON COLUMN churn_by_month.cancelled IS 'Numbers cancelled.'",
    "COMMENT ON VIEW numbers_without_emergency_address IS 'One row for each live number without an address registered with the emergency services.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN numbers_without_emergency_address.uuid IS 'The provider''s uuid of the number, lower case.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_e164 IS 'The number in E.164.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number IS 'The local number.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.range_code IS 'Range code.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.range_name IS 'Range, such as number type or area.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.country_code IS 'Country dialling code.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.country_name IS 'Country, as the provider names it.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.country_iso IS 'Country code, as the provider sends it (UK).'",
    "COMMENT ON COLUMN numbers_without_emergency_address.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.lifecycle IS 'live, or cancelled on the evidence in the history.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.status IS 'The provider''s status, as sent.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.monthly_charge IS 'Cost per month, in the account''s currency.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.setup_charge IS 'Cost once, in the account''s currency.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.provisioned_at IS 'When the provider says it was provisioned to the account. UTC.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.cancelled_at IS 'When it was cancelled: the provider''s timestamp, or for a number that went missing the start of the run that found it gone. UTC.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_id IS 'Its address; NULL if none.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_id IS 'The address registered with the emergency services; NULL if none.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.details_status IS 'Status inside the number''s details, as sent.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.details_provisioned_at IS 'Provisioned timestamp inside the number''s details. UTC.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.extra IS 'Fields that this version does not know, as sent (JSON object); NULL if none.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.first_seen_at IS 'Start of the first run. UTC.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.changed_at IS 'Start of the last change. UTC.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.first_run_id IS 'Run that saw it first.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.changed_run_id IS 'Run that changed it last.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_name IS 'Of its address: The provider''s name for the address.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_use_for_proof_of_address IS 'Of its address: Whether it serves as proof of address (useForProofOfAddress).'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_use_for_emergency_address IS 'Of its address: Whether it serves as emergency address (useForEmergencyAddress).'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_line1 IS 'Of its address: First line.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_line2 IS 'Of its address: Second line.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_city IS 'Of its address: City.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_region IS 'Of its address: Region.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_postal_code IS 'Of its address: Postal code.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_country_name IS 'Of its address: Country, as the provider names it.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.number_address_country_iso IS 'Of its address: Country code, as the provider sends it.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_name IS 'Of its emergency one: The provider''s name for the address.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_use_for_proof_of_address IS 'Of its emergency one: Whether it serves as proof of address (useForProofOfAddress).'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_use_for_emergency_address IS 'Of its emergency one: Whether it serves as emergency address (useForEmergencyAddress).'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_line1 IS 'Of its emergency one: First line.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_line2 IS 'Of its emergency one: Second line.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_city IS 'Of its emergency one: City.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_region IS 'Of its emergency one: Region.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_postal_code IS 'Of its emergency one: Postal code.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_country_name IS 'Of its emergency one: Country, as the provider names it.'",
    "COMMENT ON COLUMN numbers_without_emergency_address.emergency_number_address_country_iso IS 'Of its emergency one: Country code, as the provider sends it.'",
    "COMMENT ON VIEW numbers_without_proof_of_address IS 'One row for each live number without an address.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.uuid IS 'The provider''s uuid of the number, lower case.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_e164 IS 'The number in E.164.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number IS 'The local number.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.range_code IS 'Range code.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.range_name IS 'Range, such as number type or area.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.country_code IS 'Country dialling code.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.country_name IS 'Country, as the provider names it.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.country_iso IS 'Country code, as the provider sends it (UK).'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.country_alpha2 IS 'ISO 3166-1 alpha-2 code (GB); NULL if country_iso is unknown.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.lifecycle IS 'live, or cancelled on the evidence in the history.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.status IS 'The provider''s status, as sent.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.monthly_charge IS 'Cost per month, in the account''s currency.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.setup_charge IS 'Cost once, in the account''s currency.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.provisioned_at IS 'When the provider says it was provisioned to the account. UTC.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.cancelled_at IS 'When it was cancelled: the provider''s timestamp, or for a number that went missing the start of the run that found it gone. UTC.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_id IS 'Its address; NULL if none.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_id IS 'The address registered with the emergency services; NULL if none.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.details_status IS 'Status inside the number''s details, as sent.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.details_provisioned_at IS 'Provisioned timestamp inside the number''s details. UTC.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.extra IS 'Fields that this version does not know, as sent (JSON object); NULL if none.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.first_seen_at IS 'Start of the first run. UTC.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.changed_at IS 'Start of the last change. UTC.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.first_run_id IS 'Run that saw it first.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.changed_run_id IS 'Run that changed it last.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_name IS 'Of its address: The provider''s name for the address.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_use_for_proof_of_address IS 'Of its address: Whether it serves as proof of address (useForProofOfAddress).'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_use_for_emergency_address IS 'Of its address: Whether it serves as emergency address (useForEmergencyAddress).'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_line1 IS 'Of its address: First line.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_line2 IS 'Of its address: Second line.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_city IS 'Of its address: City.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_region IS 'Of its address: Region.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_postal_code IS 'Of its address: Postal code.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_country_name IS 'Of its address: Country, as the provider names it.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.number_address_country_iso IS 'Of its address: Country code, as the provider sends it.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_name IS 'Of its emergency one: The provider''s name for the address.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_use_for_proof_of_address IS 'Of its emergency one: Whether it serves as proof of address (useForProofOfAddress).'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_use_for_emergency_address IS 'Of its emergency one: Whether it serves as emergency address (useForEmergencyAddress).'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_line1 IS 'Of its emergency one: First line.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_line2 IS 'Of its emergency one: Second line.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_city IS 'Of its emergency one: City.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_region IS 'Of its emergency one: Region.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_postal_code IS 'Of its emergency one: Postal code.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_country_name IS 'Of its emergency one: Country, as the provider names it.'",
    "COMMENT ON COLUMN numbers_without_proof_of_address.emergency_number_address_country_iso IS 'Of its emergency one: Country code, as the provider sends it.'",
    "COMMENT ON VIEW sync_status IS 'How each account stands, also one whose runs have only ever failed.'",
    "COMMENT ON COLUMN sync_status.account IS 'Name under which this account''s rows are kept (SYNCSVC_ACCOUNT).'",
    "COMMENT ON COLUMN sync_status.last_run_id IS 'The account''s last run.'",
    "COMMENT ON COLUMN sync_status.last_run_state IS 'running, succeeded, withheld, failed, crashed.'",
    "COMMENT ON COLUMN sync_status.last_run_started_at IS 'Start of the last run. UTC.'",
    "COMMENT ON COLUMN sync_status.last_success_at IS 'End of the last run that published, cancellations withheld or not; NULL if none ever did. UTC.'",
    "COMMENT ON COLUMN sync_status.seconds_since_success IS 'Whole seconds since then; NULL if there was none.'",
    "COMMENT ON COLUMN sync_status.live_numbers IS 'Numbers that are live.'",
    "COMMENT ON COLUMN sync_status.cancelled_numbers IS 'Numbers that are cancelled.'",
    "COMMENT ON COLUMN sync_status.withheld IS 'Cancellations that the last run did not accept.'",
    "COMMENT ON COLUMN sync_status.rejected IS 'Rows that the last run could not read.'",
    "COMMENT ON FUNCTION inventory_as_of(timestamptz) IS 'The inventory as it was known at a moment, cancelled numbers too: one row for each number that had been seen, as it stood then. Number, range and country are those of now.'",
)
VIEWS = (
    "live_numbers",
    "number_changes",
    "monthly_charges",
    "inventory_by_month",
    "churn_by_month",
    "numbers_without_emergency_address",
    "numbers_without_proof_of_address",
    "sync_status",
)
RANGES = {"valid_from": "timestamptz_minmax_ops", "occurred_at": "timestamptz_minmax_multi_ops"}


def upgrade() -> None:
    """
    Make them.
    """
    postgresql = op.get_context().dialect.name == "postgresql"
    for statement in (*POSTGRESQL, *COMMENTS) if postgresql else SQLITE:
        op.execute(statement)
    if postgresql:
        for column, kind in RANGES.items():
            op.create_index(
                op.f(f"ix_number_history_{column}"),
                "number_history",
                [column],
                postgresql_using="brin",
                postgresql_ops={column: kind},
                postgresql_with={"pages_per_range": 32, "autosummarize": True},
            )


def downgrade() -> None:
    """
    Drop them, those first that build on others.
    """
    if op.get_context().dialect.name == "postgresql":
        for column in RANGES:
            op.drop_index(op.f(f"ix_number_history_{column}"), table_name="number_history")
        op.execute("DROP FUNCTION inventory_as_of(timestamptz)")
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
