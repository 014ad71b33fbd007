"""
A large inventory with a long history, made by PostgreSQL itself in a few minutes.

A daily run over three years saw it. Three numbers in five were there from the first day, most of
the others came early, one in eight has gone, one in fifty came back, one in ten was reserved before
it was provisioned, where it was at all; of the other changes two in five are of the charge. Fifty
numbers have an address; one in fifty of these is abroad, one in ten does not serve for emergencies,
one in a hundred changed lately. One E.164 number in two hundred stands under two uuids. Nothing is
random: each time the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

DAYS = 1095
ROWS_EACH = 5  # of history, on average
COUNTRIES = "(ARRAY['GB','DE','FR','IE','US','NL','ES','IT','BE','AT'])"

RUNS = """
INSERT INTO sync_runs (account, trigger, state, started_at, finished_at, walks, pages, num_results,
    listed, added, provisioned, cancelled, reinstated, changed, unchanged, address_changes,
    rejected, withheld, service_version)
SELECT 'default', 'schedule', 'succeeded', at, at + interval '4 minutes', 1, :numbers / 200,
    :numbers, :numbers, 0, 0, 0, 0, 0, :numbers, 0, 0, 0, '0'
FROM generate_series(1, :days) day,
    LATERAL (SELECT date_trunc('day', now()) - (:days - day) * interval '1 day' AS at) start
"""

ADDRESSES = f"""
INSERT INTO addresses (account, id, name, use_for_proof_of_address, use_for_emergency_address,
    address_line1, address_city, address_postal_code, country_name, country_iso,
    first_seen_at, changed_at)
SELECT 'default', id, 'Site ' || id, true, id % 10 > 0, id || ' High Street', 'London', 'NW2 1AA',
    'A country', CASE WHEN id % 50 = 7 THEN 'CH' ELSE {COUNTRIES}[1 + id % 10] END,
    first, CASE id % 100 WHEN 3 THEN last - interval '1 day' * (id / 100 % 60) ELSE first END
FROM generate_series(0, greatest(:numbers / 50, 1)) id,
    (SELECT min(started_at) AS first, max(started_at) AS last FROM sync_runs) runs
"""

ADDRESS_HISTORY = """
INSERT INTO address_history (account, address_id, run_id, event, valid_from, valid_to, name,
    use_for_proof_of_address, use_for_emergency_address, address_line1, address_city,
    address_postal_code, country_name, country_iso, changes)
SELECT a.account, a.id, r.id, CASE WHEN later THEN 'changed' ELSE 'added' END, r.started_at,
    CASE WHEN NOT later AND a.changed_at > r.started_at THEN a.changed_at END, a.name,
    a.use_for_proof_of_address, a.use_for_emergency_address, a.address_line1, a.address_city,
    a.address_postal_code, a.country_name, a.country_iso, CASE WHEN later THEN
        jsonb_build_object('address_line1', jsonb_build_object('old', 'Low Street',
            'new', a.address_line1)) END
FROM addresses a CROSS JOIN (VALUES (false), (true)) each (later)
JOIN sync_runs r ON r.started_at = CASE WHEN later THEN a.changed_at ELSE a.first_seen_at END
WHERE NOT later OR a.changed_at > a.first_seen_at
"""

# What is made up of each number: `roll` is as good as random, and always the same.
PLAN = f"""
CREATE TEMPORARY TABLE plan AS
SELECT i, md5(i::text)::uuid::text AS uuid, roll, rows,
    CASE WHEN i % 5 < 3 THEN 1 ELSE 1 + roll / 7 % (:days - 60) * (roll % 100) / 100 END AS first,
    i % 8 = 0 AND rows > 1 AS goes, i % 50 = 8 AND rows > 2 AS returns,
    i % 10 = 9 AS reserved, {COUNTRIES}[1 + i / 50 % 10] AS country
FROM generate_series(1, :numbers) i,
    LATERAL (SELECT hashtext(i::text) & 1048575 AS roll, 1 + i % :most AS rows) each
"""

STEPS = """
CREATE TEMPORARY TABLE steps AS
SELECT p.*, step,
    first + ceil((:days - first) * (step - 1 + CASE step WHEN 1 THEN 0 ELSE roll % 100 END / 100.0)
        / rows)::int AS day,
    CASE WHEN step = 1 THEN CASE WHEN reserved THEN 'added' ELSE 'provisioned' END
        WHEN returns AND step = rows THEN 'reinstated'
        WHEN returns AND step = rows - 1 THEN 'cancelled'
        WHEN goes AND NOT returns AND step = rows THEN 'cancelled'
        WHEN reserved AND step = 2 THEN 'provisioned'
        ELSE 'changed' END AS event,
    0.3 + roll / 1000 % 50 * 0.05 + step * 2 / 5 * 0.01 AS charge
FROM plan p, LATERAL generate_series(1, rows) step
"""

NUMBERS = """
INSERT INTO numbers (account, uuid, number_e164, number, range_name, country_name, country_iso,
    country_alpha2, lifecycle, status, monthly_charge, setup_charge, provisioned_at, cancelled_at,
    number_address_id, emergency_number_address_id, details_status, details_provisioned_at,
    first_seen_at, changed_at, first_run_id, changed_run_id)
SELECT 'default', uuid, '+' || 440000000000 + i - CASE i % 200 WHEN 0 THEN 1 ELSE 0 END, i::text,
    'Range ' || roll % 40, country, country, country, lifecycle, status, charge, 1, provisioned_at,
    cancelled_at, number_address_id, emergency_number_address_id, status, provisioned_at,
    (SELECT started_at FROM sync_runs WHERE id = first), valid_from, first, day
FROM states JOIN plan USING (uuid) WHERE step = plan.rows
"""

STATES = """
CREATE TEMPORARY TABLE states AS
SELECT s.uuid, s.step, s.day, s.event, r.started_at AS valid_from,
    CASE s.event WHEN 'cancelled' THEN 'cancelled' ELSE 'live' END AS lifecycle, s.charge,
    CASE WHEN s.reserved AND s.step = 1 THEN 'Reserved' ELSE 'Active' END AS status,
    CASE WHEN NOT (s.reserved AND s.step = 1)
        THEN r.started_at - interval '7 hours' + interval '1 day' * (CASE
            WHEN s.reserved THEN s.first + (:days - s.first) / s.rows
            WHEN s.first = 1 THEN -(s.roll % 2500)
            ELSE s.first END - s.day) END AS provisioned_at,
    CASE WHEN s.event = 'cancelled' THEN r.started_at - interval '30 hours' END AS cancelled_at,
    CASE WHEN s.roll / 10 % 10 > 0 THEN s.i / 50 END AS number_address_id,
    CASE WHEN s.roll / 100 % 7 > 0 THEN s.i / 50 END AS emergency_number_address_id,
    lag(s.charge) OVER each AS charge_before,
    lead(r.started_at) OVER each AS valid_to
FROM steps s JOIN sync_runs r ON r.id = s.day
WINDOW each AS (PARTITION BY s.uuid ORDER BY s.step)
"""

HISTORY = """
INSERT INTO number_history (account, uuid, run_id, event, occurred_at, occurred_at_source,
    evidence, valid_from, valid_to, lifecycle, status, monthly_charge, setup_charge,
    provisioned_at, cancelled_at, number_address_id, emergency_number_address_id, changes)
SELECT 'default', uuid, day, event,
    CASE event WHEN 'provisioned' THEN provisioned_at WHEN 'cancelled' THEN cancelled_at
        ELSE valid_from END,
    CASE WHEN event IN ('provisioned', 'cancelled') THEN 'provider' ELSE 'observed' END,
    'listing', valid_from, valid_to, lifecycle, status, charge, 1, provisioned_at, cancelled_at,
    number_address_id, emergency_number_address_id,
    CASE WHEN step > 1 AND charge <> charge_before THEN jsonb_build_object('monthly_charge',
            jsonb_build_object('old', charge_before::text, 'new', charge::text))
        WHEN step > 1 THEN jsonb_build_object('details_status',
            jsonb_build_object('old', 'Reserved', 'new', 'Active')) END
FROM states ORDER BY day, uuid
"""


def fill(connection: Connection, size: int) -> None:
    """
    Put an inventory of this size into a database that was migrated and has no rows.

    Foreign keys are not looked at on the way, which only a superuser may ask for.
    """
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    for statement in (RUNS, ADDRESSES, ADDRESS_HISTORY, PLAN, STEPS, STATES, NUMBERS, HISTORY):
        bound = {"numbers": size, "days": DAYS, "most": 2 * ROWS_EACH - 1}
        query = text(statement)
        connection.execute(query, {name: bound[name] for name in query.compile().params})
