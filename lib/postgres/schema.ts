import { unusable } from '../broker/broker-errors.js';
import type { StreamError } from '../util/errors.js';
import type { Database } from './database.js';
import { inSchema, MIGRATIONS } from './migrations.js';
import { answerCode, unavailable } from './postgres-errors.js';

/** The first version of Postgres with all functions that the schema uses. */
const OLDEST_VERSION = 13;
/** A lock that all processes know, so that one of them changes a schema. */
const LOCK = "pg_advisory_xact_lock(hashtextextended('nestjs-streaming', 0))";

const SERVER = `SELECT current_setting('server_version_num'), current_setting('server_version'), current_setting('server_encoding'),
  pg_is_in_recovery(), current_user`;
/** Reads the tables of the catalog themselves: `to_regclass()` may not see yet what another process has created. */
const FOUND = `SELECT EXISTS (
  SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = trim('"' FROM '"ns"') AND c.relname = 'version'
)`;
const VERSION = 'SELECT version FROM "ns".version';
const MISSING = `SELECT string_agg(missing, '; ') FROM (
  SELECT string_agg(p, ', ') || ' on ' || t AS missing FROM unnest(ARRAY['log', 'record', 'once', 'garbage', 'member', 'figure']) t,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE NOT has_table_privilege('"ns".' || t, p) GROUP BY t
  UNION ALL SELECT 'USAGE on the sequence life' WHERE NOT has_sequence_privilege('"ns".life', 'USAGE')
) m`;

type Run = (text: string, values?: readonly string[]) => Promise<readonly (readonly unknown[])[]>;

/**
 * Makes sure that the schema exists, in its newest version, and that the user may use it.
 * @throws {StreamError} `broker-unavailable`, with a sentence that says what to do
 */
export async function prepareSchema(database: Database, schema: string): Promise<void> {
  let user = '';
  try {
    await database.withClient(async (run) => {
      user = await checkServer(run, database.server);
      await migrate(run, schema);
      await checkPermissions(run, schema, user);
    });
  } catch (error) {
    throw answerCode(error) === '42501' ? notPermitted(schema, user, error) : unavailable(database.server, error);
  }
}

/** @returns the name of the user */
async function checkServer(run: Run, server: string): Promise<string> {
  const [number, version, encoding, isReplica, user] = (await run(SERVER))[0] ?? [];
  if (Number(number) < OLDEST_VERSION * 10_000) {
    throw unusable(`${server} has version ${version}: PostgresBroker needs Postgres ${OLDEST_VERSION} or newer`);
  }
  if (encoding !== 'UTF8') {
    throw unusable(
      `The database at ${server} has the encoding ${encoding}, which cannot store every text: PostgresBroker needs a database with the encoding UTF8`,
    );
  }
  if (isReplica === true) {
    throw unusable(`${server} is a replica, which takes no events: connect PostgresBroker to the primary`);
  }
  return String(user);
}

async function migrate(run: Run, schema: string): Promise<void> {
  const [isThere] = (await run(inSchema(FOUND, schema)))[0] ?? [];
  const [version] = isThere === true ? ((await run(inSchema(VERSION, schema)))[0] ?? []) : [];
  if (version === undefined || Number(version) < MIGRATIONS.length) {
    await run(schemaSql(schema));
  }
}

async function checkPermissions(run: Run, schema: string, user: string): Promise<void> {
  const [missing] = (await run(inSchema(MISSING, schema)))[0] ?? [];
  if (typeof missing === 'string') {
    throw unusable(
      `The user "${user}" of Postgres lacks privileges in the schema "${schema}": ${missing}. See "Permissions" in the guide "Postgres"`,
    );
  }
  await run(inSchema('SELECT "ns".ns_server()', schema));
}

function notPermitted(schema: string, user: string, error: unknown): StreamError {
  const { message } = error as Error;
  return unusable(
    `The user "${user}" of Postgres may not create or use the schema "${schema}": ${message}. See "Permissions" in the guide "Postgres"`,
  );
}

/**
 * Returns one statement of SQL that creates the tables and functions, or brings those of an earlier version to the newest one. It changes nothing if they have the
 * newest one.
 */
export function schemaSql(schema: string): string {
  const steps = MIGRATIONS.map(
    (sql, index) => `  IF found < ${index + 1} THEN\n    EXECUTE $step$${sql}$step$;\n  END IF;\n`,
  );
  return inSchema(
    `DO $schema$
DECLARE
  found int := 0;
BEGIN
  PERFORM ${LOCK};
  PERFORM set_config('client_min_messages', 'warning', true);
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = trim('"' FROM '"ns"')) THEN
    CREATE SCHEMA "ns";
  END IF;
  IF (${FOUND}) THEN
    found := (${VERSION});
  END IF;
${steps.join('')}  UPDATE "ns".version SET version = ${MIGRATIONS.length} WHERE version < ${MIGRATIONS.length};
END $schema$;`,
    schema,
  );
}
