-- Divides the four large tables of an empty, migrated database into 16 partitions by account.
--
--     psql --set ON_ERROR_STOP=1 --file partition.sql "$DATABASE_URL"
--
-- Run it as the role that owns the tables, with the schema of the tables first in its search_path,
-- right after the first `syncsvc migrate` and before the first run; it needs PostgreSQL 17 or newer.
-- Afterwards repeat `syncsvc migrate --reporting-role` and `--keep-months`, if you use them: rights
-- on the tables and views, and the materialised view of months, are not kept. docs/scale.md says
-- for whom this is.

DO $partition$
DECLARE
  partitions CONSTANT integer := 16;
  wanted CONSTANT regclass[] := ARRAY['addresses', 'numbers', 'address_history', 'number_history'];
  tables CONSTANT text[] := wanted;  -- their names, which later belong to others
  rows bigint;
  one record;
BEGIN
  IF current_setting('server_version_num')::integer < 170000 THEN
    RAISE EXCEPTION 'PostgreSQL 17 or newer is needed: older ones number no rows of partitioned tables.';
  END IF;
  FOR place IN 1..cardinality(tables) LOOP
    IF (SELECT relkind FROM pg_class WHERE oid = wanted[place]) <> 'r' THEN
      RAISE EXCEPTION '% is no plain table; it may be partitioned already.', tables[place];
    END IF;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT 1) AS one', tables[place]) INTO rows;
    IF rows > 0 THEN
      RAISE EXCEPTION '% has rows. Only an empty database can be divided.', tables[place];
    END IF;
  END LOOP;

  -- What is dropped on the way, and how to create it again, in this order.
  CREATE TEMPORARY TABLE dropped (place integer GENERATED ALWAYS AS IDENTITY, undo text, redo text)
  ON COMMIT DROP;
  INSERT INTO dropped (redo)
  SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE conrelid = ANY (wanted) AND contype IN ('p', 'u') ORDER BY oid;
  INSERT INTO dropped (redo)
  SELECT pg_get_indexdef(indexrelid) FROM pg_index
  WHERE indrelid = ANY (wanted)
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
  ORDER BY indexrelid;
  INSERT INTO dropped (undo, redo)
  SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint
  WHERE contype = 'f' AND (conrelid = ANY (wanted) OR confrelid = ANY (wanted)) ORDER BY oid;
  INSERT INTO dropped (redo)
  SELECT pg_get_triggerdef(oid) FROM pg_trigger
  WHERE tgrelid = ANY (wanted) AND NOT tgisinternal ORDER BY oid;
  INSERT INTO dropped (redo)
  SELECT format('COMMENT ON TABLE %s IS %L', objoid::regclass, description) FROM pg_description
  WHERE classoid = 'pg_class'::regclass AND objoid = ANY (wanted) AND objsubid = 0;
  INSERT INTO dropped (undo, redo)
  SELECT format('DROP VIEW %s', oid::regclass),
    format('CREATE VIEW %s AS %s', oid::regclass, pg_get_viewdef(oid))
  FROM pg_class
  WHERE relkind = 'v'
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = wanted[1]) ORDER BY oid;
  INSERT INTO dropped (redo)
  SELECT CASE objsubid
    WHEN 0 THEN format('COMMENT ON VIEW %s IS %L', objoid::regclass, description)
    ELSE format('COMMENT ON COLUMN %s.%I IS %L', objoid::regclass, attname, description) END
  FROM pg_description
  JOIN pg_class ON pg_class.oid = objoid
  LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
  WHERE classoid = 'pg_class'::regclass AND relkind = 'v'
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = wanted[1]);

  INSERT INTO dropped (undo, redo)
  SELECT format('DROP FUNCTION %s', oid::regprocedure), pg_get_functiondef(oid) FROM pg_proc
  WHERE prosqlbody IS NOT NULL
    AND pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = wanted[1]) ORDER BY oid;
  INSERT INTO dropped (redo)
  SELECT format('COMMENT ON FUNCTION %s IS %L', objoid::regprocedure, description)
  FROM pg_description JOIN pg_proc ON pg_proc.oid = objoid
  WHERE classoid = 'pg_proc'::regclass AND prosqlbody IS NOT NULL
    AND pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = wanted[1]);

  FOR one IN SELECT undo FROM dropped WHERE undo IS NOT NULL ORDER BY place DESC LOOP
    EXECUTE one.undo;
  END LOOP;

  FOR place IN 1..cardinality(tables) LOOP
    EXECUTE format('ALTER TABLE %s RENAME TO %I', tables[place], tables[place] || '_plain');
    IF pg_get_serial_sequence(tables[place] || '_plain', (
        SELECT attname FROM pg_attribute WHERE attrelid = wanted[place] AND attnum = 1)) IS NOT NULL THEN
      EXECUTE format('ALTER SEQUENCE %s RENAME TO %I', tables[place] || '_id_seq', tables[place] || '_plain_id_seq');
    END IF;
    EXECUTE format('CREATE TABLE %s (LIKE %I INCLUDING ALL EXCLUDING INDEXES) PARTITION BY HASH (account)',
      tables[place], tables[place] || '_plain');
    FOR part IN 0..partitions - 1 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
        tables[place] || '_' || lpad(part::text, 2, '0'), tables[place], partitions, part);
    END LOOP;
    EXECUTE format('DROP TABLE %I', tables[place] || '_plain');
  END LOOP;

  FOR one IN SELECT redo FROM dropped ORDER BY place LOOP
    EXECUTE one.redo;
  END LOOP;
END
$partition$;
