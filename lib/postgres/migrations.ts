/** The schema in the texts of this file. Another one takes its place. */
const SCHEMA = /"ns"/g;

/**
 * Version 1. Texts may contain every character but NUL, which Postgres cannot store: NUL and U+0001 are stored as U+0001 and another character.
 */
const TABLES = `
-- The logs of hubs, and of runs, which expire. The lock of a row puts the events of its log in the order of their commits.
CREATE TABLE "ns".log (
  name text COLLATE "C" PRIMARY KEY,
  -- Identifies the records of the present epoch.
  life bigint NOT NULL,
  epoch text COLLATE "C" NOT NULL,
  -- The offset of the newest record.
  last bigint NOT NULL DEFAULT 0,
  -- Records up to this one were removed because of their age. Those after it that are missing have at least one newer record of their topic.
  expired bigint NOT NULL DEFAULT 0,
  -- After this one, no record was removed.
  trimmed bigint NOT NULL DEFAULT 0,
  -- The server that last had the log: see ns_server().
  server text COLLATE "C" NOT NULL,
  -- Whether the log continues after a failover.
  trusts boolean NOT NULL DEFAULT false,
  -- How many records are kept, of the log or of each topic, and for how many milliseconds.
  keep bigint,
  ttl bigint,
  -- Whether the log has a history for each topic.
  topics boolean NOT NULL DEFAULT false,
  -- Only for the log of a run.
  expires timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX log_expires ON "ns".log (expires) WHERE expires IS NOT NULL;

CREATE SEQUENCE "ns".life;

CREATE TABLE "ns".record (
  life bigint NOT NULL,
  pos bigint NOT NULL,
  -- Milliseconds since 1970.
  time bigint NOT NULL,
  -- Only in a log with a history for each topic: the position of the record before it in its topic, or 0.
  previous bigint,
  encoding text COLLATE "C" NOT NULL,
  topic text COLLATE "C",
  type text COLLATE "C",
  key text COLLATE "C",
  data text COLLATE "C" NOT NULL,
  PRIMARY KEY (life, pos)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000);
CREATE INDEX record_topic ON "ns".record (life, topic, pos) WHERE previous IS NOT NULL;
-- Records are kept for a short time: compressing them costs more than it saves. So their size is known without reading them.
ALTER TABLE "ns".record ALTER COLUMN data SET STORAGE EXTERNAL;

-- What was published with "once".
CREATE TABLE "ns".once (
  life bigint NOT NULL,
  once text COLLATE "C" NOT NULL,
  pos bigint NOT NULL,
  time bigint NOT NULL,
  PRIMARY KEY (life, once)
);
CREATE INDEX once_time ON "ns".once (time);

-- Lives whose records are removed.
CREATE TABLE "ns".garbage (life bigint PRIMARY KEY);

-- The figures of processes. They are lost when Postgres crashes: the processes then store them again.
CREATE UNLOGGED TABLE "ns".member (
  log text COLLATE "C" NOT NULL,
  process text COLLATE "C" NOT NULL,
  expires timestamptz NOT NULL,
  PRIMARY KEY (log, process)
);
CREATE UNLOGGED TABLE "ns".figure (
  log text COLLATE "C" NOT NULL,
  process text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  value bigint NOT NULL,
  PRIMARY KEY (log, process, name)
);
`;

const LOGS = `
-- Another value after every failover: the server may have lost the newest events then.
CREATE FUNCTION "ns".ns_server() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
$$;

CREATE FUNCTION "ns".ns_now() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

CREATE FUNCTION "ns".ns_epoch() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT replace(gen_random_uuid()::text, '-', '')
$$;

-- Sets how long this transaction waits for the row of a log, in milliseconds. 0: no change.
CREATE FUNCTION "ns".ns_wait(ms bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF ms > 0 THEN
    PERFORM set_config('lock_timeout', ms::text, true);
  END IF;
END $$;

-- Locks the row of the log of a hub. Creates it if there is none. Begins a new epoch if the log may have lost its newest records: after a failover, or if it
-- ends before a position that the caller has seen.
CREATE FUNCTION "ns".ns_lock(log_name text, seen_epoch text, seen_pos bigint, with_topics boolean DEFAULT NULL, does_trust boolean DEFAULT NULL)
RETURNS "ns".log LANGUAGE plpgsql AS $$
DECLARE
  l "ns".log;
  here text := "ns".ns_server();
BEGIN
  LOOP
    SELECT * INTO l FROM "ns".log WHERE name = log_name FOR UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO "ns".log (name, life, epoch, server, topics, trusts)
    VALUES (log_name, nextval('"ns".life'), "ns".ns_epoch(), here, coalesce(with_topics, false), coalesce(does_trust, false))
    ON CONFLICT DO NOTHING;
  END LOOP;
  IF (l.server <> here AND NOT coalesce(does_trust, l.trusts)) OR (l.epoch = seen_epoch AND l.last < seen_pos) THEN
    INSERT INTO "ns".garbage VALUES (l.life) ON CONFLICT DO NOTHING;
    UPDATE "ns".log SET life = nextval('"ns".life'), epoch = "ns".ns_epoch(), last = 0, expired = 0, trimmed = 0, server = here
    WHERE name = log_name RETURNING * INTO l;
  ELSIF l.server <> here THEN
    UPDATE "ns".log SET server = here WHERE name = log_name RETURNING * INTO l;
  END IF;
  RETURN l;
END $$;
`;

const APPEND = `
-- Appends entries to the log of a hub, as the broker stores them. Returns the epoch, the offset of the last entry, and, if one has a "once", the offsets of all.
CREATE FUNCTION "ns".ns_append_entries(
  log_name text, datas text[], encodings text[], entry_topics text[], types text[], keys text[], onces text[],
  with_topics boolean, does_trust boolean, seen_epoch text, seen_pos bigint, wait_ms bigint,
  OUT epoch text, OUT last bigint, OUT positions bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  l "ns".log;
  time_now bigint;
  entry record;
  added bigint;
  chosen bigint[] := '{}';
BEGIN
  PERFORM "ns".ns_wait(wait_ms);
  l := "ns".ns_lock(log_name, seen_epoch, seen_pos, with_topics, does_trust);
  time_now := "ns".ns_now();
  added := cardinality(datas);
  IF onces IS NOT NULL THEN
    added := 0;
    FOR entry IN SELECT e.once, e.n FROM unnest(onces) WITH ORDINALITY AS e(once, n) ORDER BY e.n LOOP
      IF entry.once IS NOT NULL THEN
        positions[entry.n] := (
          SELECT o.pos FROM "ns".once o WHERE o.life = l.life AND o.once = entry.once AND o.time > time_now - 120000
        );
      END IF;
      IF positions[entry.n] IS NULL THEN
        added := added + 1;
        chosen := chosen || entry.n;
        positions[entry.n] := l.last + added;
        IF entry.once IS NOT NULL THEN
          INSERT INTO "ns".once AS o VALUES (l.life, entry.once, l.last + added, time_now)
          ON CONFLICT ON CONSTRAINT once_pkey DO UPDATE SET pos = excluded.pos, time = excluded.time;
        END IF;
      END IF;
    END LOOP;
  END IF;
  INSERT INTO "ns".record (life, pos, time, previous, encoding, topic, type, key, data)
  SELECT l.life, l.last + e.n, time_now,
    CASE WHEN l.topics THEN coalesce(
      lag(l.last + e.n) OVER (PARTITION BY e.topic ORDER BY e.n),
      (SELECT r.pos FROM "ns".record r WHERE r.life = l.life AND r.topic = e.topic AND r.previous IS NOT NULL ORDER BY r.pos DESC LIMIT 1),
      0
    ) END,
    e.encoding, e.topic, e.type, e.key, e.data
  FROM (
    SELECT t.data, t.encoding, t.topic, t.type, t.key, row_number() OVER (ORDER BY t.i) AS n
    FROM unnest(datas, encodings, entry_topics, types, keys) WITH ORDINALITY AS t(data, encoding, topic, type, key, i)
    WHERE onces IS NULL OR t.i = ANY (chosen)
  ) e;
  IF added > 0 THEN
    UPDATE "ns".log g SET last = l.last + added WHERE g.name = log_name;
  END IF;
  epoch := l.epoch;
  last := l.last + added;
END $$;

-- The text that is stored for a text.
CREATE FUNCTION "ns".ns_stored(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(value, E'\\x01', E'\\x01\\x01')
$$;

-- The channel of NOTIFY is named like the schema.
CREATE FUNCTION "ns".ns_ring(log_name text) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_notify(trim('"' FROM '"ns"'), left(encode(sha256(convert_to(log_name, 'UTF8')), 'hex'), 12))
$$;
`;

const RUNS = `
-- Creates logs of runs, or appends to them. Returns a row for each call whose condition is met. Rows are locked in the order of their names, so that two callers
-- never wait for each other.
CREATE FUNCTION "ns".ns_write_runs(
  names text[], creates boolean[], after_epochs text[], after_pos bigint[], expire_ms bigint[], firsts int[], counts int[],
  datas text[], encodings text[], entry_topics text[], types text[], keys text[], wait_ms bigint
) RETURNS TABLE (n bigint, epoch text, last bigint) LANGUAGE plpgsql AS $$
DECLARE
  c record;
  l "ns".log;
  there boolean;
  is_met boolean;
  ends int;
BEGIN
  PERFORM "ns".ns_wait(wait_ms);
  FOR c IN
    SELECT * FROM unnest(names, creates, after_epochs, after_pos, expire_ms, firsts, counts)
      WITH ORDINALITY AS t(name, creates, after_epoch, after_pos, ms, first, count, i)
    ORDER BY t.name COLLATE "C", t.i
  LOOP
    LOOP
      SELECT * INTO l FROM "ns".log g WHERE g.name = c.name FOR UPDATE;
      there := FOUND AND coalesce(l.expires > clock_timestamp(), true);
      IF c.after_epoch IS NULL THEN
        is_met := there <> c.creates;
      ELSE
        is_met := there AND l.epoch = c.after_epoch AND l.last = c.after_pos;
      END IF;
      EXIT WHEN NOT is_met OR NOT c.creates;
      IF l.name IS NOT NULL THEN
        DELETE FROM "ns".record r WHERE r.life = l.life;
        UPDATE "ns".log g SET life = nextval('"ns".life'), epoch = "ns".ns_epoch(), last = 0 WHERE g.name = c.name RETURNING * INTO l;
        EXIT;
      END IF;
      INSERT INTO "ns".log (name, life, epoch, server, expires)
      VALUES (c.name, nextval('"ns".life'), "ns".ns_epoch(), '', clock_timestamp() + interval '1 minute')
      ON CONFLICT DO NOTHING RETURNING * INTO l;
      EXIT WHEN FOUND;
    END LOOP;
    IF is_met THEN
      ends := c.first + c.count - 1;
      INSERT INTO "ns".record (life, pos, time, encoding, topic, type, key, data)
      SELECT l.life, l.last + e.i, "ns".ns_now(), e.encoding, e.topic, e.type, e.key, e.data
      FROM unnest(datas[c.first:ends], encodings[c.first:ends], entry_topics[c.first:ends], types[c.first:ends], keys[c.first:ends])
        WITH ORDINALITY AS e(data, encoding, topic, type, key, i);
      UPDATE "ns".log g SET last = l.last + c.count,
        expires = CASE WHEN c.ms IS NULL THEN g.expires ELSE clock_timestamp() + c.ms * interval '1 millisecond' END
      WHERE g.name = c.name;
      n := c.i;
      epoch := l.epoch;
      last := l.last + c.count;
      RETURN NEXT;
    END IF;
  END LOOP;
END $$;

-- Removes the log of a run.
CREATE FUNCTION "ns".ns_drop(log_name text, wait_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  gone bigint;
BEGIN
  PERFORM "ns".ns_wait(wait_ms);
  DELETE FROM "ns".log WHERE name = log_name AND expires IS NOT NULL RETURNING life INTO gone;
  DELETE FROM "ns".record WHERE life = gone;
END $$;
`;

const REMOVAL = `
-- Removes records of the log of a hub that are not needed any more: a part of them. Returns whether there may be more. The newest 4 096 stay for a minute, so that
-- every process has time to receive them.
CREATE FUNCTION "ns".ns_trim(log_name text, most int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  l "ns".log;
  cut bigint;
  old bigint;
  ends bigint;
  oldest bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended('"ns".' || log_name, 0)) THEN
    RETURN false;
  END IF;
  SELECT * INTO l FROM "ns".log WHERE name = log_name AND expires IS NULL;
  IF NOT FOUND OR l.keep IS NULL THEN
    RETURN false;
  END IF;
  -- Those that are too old.
  oldest := "ns".ns_now() - greatest(l.ttl, 60000);
  SELECT max(r.pos) INTO old FROM (
    SELECT pos, bool_and(time < oldest) OVER (ORDER BY pos) AS is_old
    FROM (SELECT pos, time FROM "ns".record WHERE life = l.life AND pos > l.expired ORDER BY pos LIMIT most) s
  ) r WHERE r.is_old;
  DELETE FROM "ns".record WHERE life = l.life AND pos > l.expired AND pos <= old;
  -- Those that are too many.
  ends := least(greatest(l.trimmed, old) + most, l.last - 4096);
  IF l.topics THEN
    DELETE FROM "ns".record r USING (
      SELECT t.topic, (
        SELECT k.pos FROM "ns".record k WHERE k.life = l.life AND k.topic = t.topic AND k.previous IS NOT NULL
        ORDER BY k.pos DESC OFFSET l.keep LIMIT 1
      ) AS pos
      FROM (SELECT DISTINCT topic FROM "ns".record WHERE life = l.life AND pos > l.trimmed AND pos <= ends AND topic IS NOT NULL) t
    ) c WHERE r.life = l.life AND r.topic = c.topic AND r.previous IS NOT NULL AND r.pos <= c.pos AND r.pos <= ends;
    DELETE FROM "ns".record WHERE life = l.life AND pos > l.trimmed AND pos <= ends AND topic IS NULL;
    cut := ends;
  ELSE
    cut := least(ends, l.last - l.keep);
    DELETE FROM "ns".record WHERE life = l.life AND pos > l.trimmed AND pos <= cut;
  END IF;
  IF old > l.expired OR cut > l.trimmed THEN
    UPDATE "ns".log SET expired = greatest(expired, old), trimmed = greatest(trimmed, cut, old) WHERE name = log_name AND life = l.life;
  END IF;
  RETURN coalesce(old >= l.expired + most, false) OR ends = greatest(l.trimmed, old) + most;
END $$;

-- Removes logs of runs that have expired, records of earlier epochs, and each "once" that is old. Returns whether there may be more.
CREATE FUNCTION "ns".ns_sweep(most int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  l record;
  logs int := 0;
  records int := 0;
BEGIN
  FOR l IN SELECT name, life FROM "ns".log WHERE expires <= clock_timestamp() ORDER BY expires LIMIT most FOR UPDATE SKIP LOCKED LOOP
    DELETE FROM "ns".record WHERE life = l.life;
    DELETE FROM "ns".log WHERE name = l.name;
    logs := logs + 1;
  END LOOP;
  SELECT life INTO l FROM "ns".garbage LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    DELETE FROM "ns".once WHERE life = l.life;
    DELETE FROM "ns".record WHERE life = l.life AND pos IN (SELECT pos FROM "ns".record WHERE life = l.life ORDER BY pos LIMIT most * 10);
    GET DIAGNOSTICS records = ROW_COUNT;
    IF records = 0 THEN
      DELETE FROM "ns".garbage WHERE life = l.life;
    END IF;
  END IF;
  DELETE FROM "ns".once WHERE ctid = ANY (ARRAY(SELECT ctid FROM "ns".once WHERE time < "ns".ns_now() - 120000 LIMIT most * 10));
  RETURN logs = most OR records > 0;
END $$;
`;

const ROSTER = `
-- Stores figures of a process: 0 removes one. Returns whether the process was there before.
CREATE FUNCTION "ns".ns_put(log_name text, process_name text, figures text[], figure_values bigint[], ms bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  was_there boolean;
BEGIN
  DELETE FROM "ns".figure f USING (
    SELECT m.log, m.process FROM "ns".member m WHERE m.log = log_name AND m.expires <= clock_timestamp() FOR UPDATE SKIP LOCKED
  ) m WHERE f.log = m.log AND f.process = m.process;
  DELETE FROM "ns".member m WHERE m.log = log_name AND m.expires <= clock_timestamp()
    AND NOT EXISTS (SELECT FROM "ns".figure f WHERE f.log = m.log AND f.process = m.process);
  PERFORM FROM "ns".member m WHERE m.log = log_name AND m.process = process_name AND m.expires > clock_timestamp() FOR UPDATE;
  was_there := FOUND;
  IF NOT was_there OR ms = 0 THEN
    DELETE FROM "ns".figure f WHERE f.log = log_name AND f.process = process_name;
  END IF;
  IF ms = 0 THEN
    DELETE FROM "ns".member m WHERE m.log = log_name AND m.process = process_name;
    RETURN was_there;
  END IF;
  INSERT INTO "ns".member VALUES (log_name, process_name, clock_timestamp() + ms * interval '1 millisecond')
  ON CONFLICT (log, process) DO UPDATE SET expires = excluded.expires;
  DELETE FROM "ns".figure f USING unnest(figures, figure_values) AS t(name, value)
  WHERE f.log = log_name AND f.process = process_name AND f.name = t.name AND t.value = 0;
  INSERT INTO "ns".figure SELECT log_name, process_name, t.name, t.value FROM unnest(figures, figure_values) AS t(name, value) WHERE t.value <> 0
  ON CONFLICT (log, process, name) DO UPDATE SET value = excluded.value;
  RETURN was_there;
END $$;

CREATE TABLE "ns".version (version int NOT NULL);
INSERT INTO "ns".version VALUES (1);
`;

/** Version 2: `ns_append()` refuses what `hub.publish()` refuses. */
const CHECKED = `
-- Whether every event needs a topic: the log has a history for each topic, and none of all events.
ALTER TABLE "ns".log ADD COLUMN needs_topic boolean NOT NULL DEFAULT false;

DROP FUNCTION IF EXISTS "ns".ns_open(text, bigint, bigint, boolean, boolean, text, bigint, bigint);
DROP FUNCTION IF EXISTS "ns".ns_check(text[], bigint[], bigint[], boolean[], boolean, text[], bigint[], bigint);
DROP FUNCTION IF EXISTS "ns".ns_append(text, jsonb, text, text, text, text, boolean);
DROP FUNCTION IF EXISTS "ns".ns_append_text(text, text, text, text, text, text, text, boolean);

-- Opens the log of a hub: sets how much of it is kept.
CREATE FUNCTION "ns".ns_open(
  log_name text, kept bigint, kept_ms bigint, with_topics boolean, does_trust boolean, seen_epoch text, seen_pos bigint, wait_ms bigint,
  with_all boolean DEFAULT true
) RETURNS TABLE (epoch text, last bigint) LANGUAGE plpgsql AS $$
DECLARE
  l "ns".log;
BEGIN
  PERFORM "ns".ns_wait(wait_ms);
  l := "ns".ns_lock(log_name, seen_epoch, seen_pos, with_topics, does_trust);
  IF with_topics AND NOT l.topics THEN
    UPDATE "ns".record r SET previous = p.previous FROM (
      SELECT pos, coalesce(lag(pos) OVER (PARTITION BY topic ORDER BY pos), 0) AS previous FROM "ns".record WHERE life = l.life
    ) p WHERE r.life = l.life AND r.pos = p.pos;
    UPDATE "ns".log SET expired = greatest(expired, trimmed) WHERE name = log_name;
  END IF;
  UPDATE "ns".log SET keep = kept, ttl = kept_ms, topics = with_topics, trusts = does_trust, needs_topic = with_topics AND NOT with_all
  WHERE name = log_name
    AND (keep, ttl, topics, trusts, needs_topic) IS DISTINCT FROM (kept, kept_ms, with_topics, does_trust, with_topics AND NOT with_all);
  RETURN QUERY SELECT l.epoch, l.last;
END $$;

-- Looks for logs that were opened before: those that were lost, or may have lost their newest records, begin a new epoch.
CREATE FUNCTION "ns".ns_check(
  names text[], keeps bigint[], ttls bigint[], with_topics boolean[], does_trust boolean, seen_epochs text[], seen_pos bigint[], wait_ms bigint,
  with_all boolean[] DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  here text := "ns".ns_server();
  c record;
BEGIN
  FOR c IN
    SELECT t.* FROM unnest(names, keeps, ttls, with_topics, seen_epochs, seen_pos, with_all) AS t(name, keep, ttl, topics, epoch, pos, has_all)
    LEFT JOIN "ns".log l ON l.name = t.name
    WHERE l.keep IS NULL OR l.server <> here OR (l.epoch = t.epoch AND l.last < t.pos)
    ORDER BY t.name COLLATE "C"
  LOOP
    PERFORM "ns".ns_open(c.name, c.keep, c.ttl, c.topics, does_trust, c.epoch, c.pos, wait_ms, coalesce(c.has_all, true));
  END LOOP;
END $$;

-- Raises for what hub.publish() refuses.
CREATE FUNCTION "ns".ns_check_event(hub text, data text, topic text, type text, once text, encoding text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  controls text := E'[\\u0001-\\u001f\\u007f-\\u009f]';
  problem text := CASE
    WHEN hub IS NULL OR char_length(hub) NOT BETWEEN 1 AND 128 OR hub ~ controls
      THEN 'The name of a hub must be 1 to 128 characters without control characters'
    WHEN hub LIKE '~%' THEN 'The name of a hub must not begin with "~": such logs belong to nestjs-streaming'
    WHEN data IS NULL THEN 'The data of an event must not be NULL: publish the JSON value null, as ''null''::jsonb, or find out why there is none'
    WHEN topic = '' THEN 'A topic must not be empty: leave it out, or pass NULL, to publish without a topic'
    WHEN octet_length(topic) > 1024 THEN 'A topic must be at most 1024 bytes long'
    WHEN topic ~ controls THEN 'A topic must not contain control characters'
    WHEN type ~ E'[\\r\\n]' THEN 'The type of an event must not contain CR or LF'
    WHEN type IN ('reset', 'lagged', 'position', 'shutdown', 'members')
      THEN format('"%s" is a type of the events of nestjs-streaming itself: publish another type', type)
    WHEN char_length(once) NOT BETWEEN 1 AND 256 THEN '"once" must be 1 to 256 characters: leave it out, or pass NULL, to publish without it'
    WHEN encoding IS NULL OR encoding NOT IN ('json', 'text', 'base64')
      THEN format('The encoding must be json, text or base64, not %s', coalesce(encoding, 'NULL'))
  END;
BEGIN
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION USING MESSAGE = problem, ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Fails for invalid data.
  IF encoding = 'json' THEN
    PERFORM data::json;
  ELSIF encoding = 'base64' THEN
    PERFORM decode(data, 'base64');
  END IF;
END $$;

-- Raises for an event that nobody would receive. The caller has locked the row of the log.
CREATE FUNCTION "ns".ns_check_hub(hub text, topic text, new_hub boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  l "ns".log;
BEGIN
  SELECT * INTO l FROM "ns".log WHERE name = "ns".ns_stored(hub);
  IF l.keep IS NULL AND new_hub IS NOT TRUE THEN
    RAISE EXCEPTION 'No process has opened a hub with the name "%" yet: check the name, start an application that registers the hub, or pass new_hub := true', hub
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF l.needs_topic AND topic IS NULL THEN
    RAISE EXCEPTION 'An event of the hub "%" needs a topic, because the hub has a history for each topic: pass "topic", or register the hub with all: true', hub
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
END $$;

-- Publishes text, JSON text or base64 to a hub, in the present transaction. Returns the offset of the event.
CREATE FUNCTION "ns".ns_append_text(
  hub text, data text, topic text DEFAULT NULL, type text DEFAULT NULL, key text DEFAULT NULL, once text DEFAULT NULL,
  encoding text DEFAULT 'text', notify boolean DEFAULT false, new_hub boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  appended record;
BEGIN
  PERFORM "ns".ns_check_event(
    ns_append_text.hub, ns_append_text.data, ns_append_text.topic, ns_append_text.type, ns_append_text.once, ns_append_text.encoding
  );
  SELECT * INTO appended FROM "ns".ns_append_entries(
    "ns".ns_stored(ns_append_text.hub), ARRAY["ns".ns_stored(ns_append_text.data)], ARRAY[ns_append_text.encoding],
    ARRAY["ns".ns_stored(ns_append_text.topic)], ARRAY["ns".ns_stored(ns_append_text.type)], ARRAY["ns".ns_stored(ns_append_text.key)],
    CASE WHEN ns_append_text.once IS NOT NULL THEN ARRAY["ns".ns_stored(ns_append_text.once)] END,
    NULL, NULL, NULL, NULL, 0
  );
  PERFORM "ns".ns_check_hub(ns_append_text.hub, ns_append_text.topic, ns_append_text.new_hub);
  IF ns_append_text.notify THEN
    PERFORM "ns".ns_ring("ns".ns_stored(ns_append_text.hub));
  END IF;
  RETURN coalesce(appended.positions[1], appended.last);
END $$;

-- Publishes JSON to a hub, in the present transaction. Returns the offset of the event.
CREATE FUNCTION "ns".ns_append(
  hub text, data jsonb, topic text DEFAULT NULL, type text DEFAULT NULL, key text DEFAULT NULL, once text DEFAULT NULL,
  notify boolean DEFAULT false, new_hub boolean DEFAULT false
) RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT "ns".ns_append_text(hub, data::text, topic, type, key, once, 'json', notify, new_hub)
$$;
`;

/** What leads to each version from the one before it, for the schema `ns`. A version that was released is never changed. */
export const MIGRATIONS: readonly string[] = [TABLES + LOGS + APPEND + RUNS + REMOVAL + ROSTER, CHECKED];

/** Puts the name of another schema into a text of SQL. */
export function inSchema(sql: string, schema: string): string {
  return sql.replace(SCHEMA, () => `"${schema}"`);
}
