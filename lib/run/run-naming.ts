import { createHash, randomBytes } from 'node:crypto';
import { tagOf } from '../hub/position.js';

/** How the runs of one registration are named. */
export interface RunNaming {
  /** The first part of the names of their logs. */
  readonly prefix: string;
  /** Returns the name of the log of a run. */
  logOf(id: string): string;
  /** Returns the first part of the ids of the chunks in a log. */
  tagOf(log: string): string;
  /** Returns the name of the runs that a run belongs to: that of a route is `Class.method`. */
  nameOf(id: string): string;
  /** Returns the part of an id that may be shown to operators. */
  shownId(id: string): string;
  /** Returns what a run is called in messages, after "The run". */
  textOf(id: string): string;
}

/** Returns the naming of runs that the application names itself. Their ids may be personal, and may contain any character. */
export function namingOf(name: string): RunNaming {
  const prefix = `~runs/${name}`;
  return {
    prefix,
    logOf: (id) => `${prefix}/${createHash('sha256').update(id).digest('hex')}`,
    tagOf,
    nameOf: () => name,
    shownId: (id) => id,
    textOf: (id) => `${JSON.stringify(id)} of ${JSON.stringify(name)}`,
  };
}

/** The name of the runs of routes. No other runs can have it. */
export const ROUTE_RUNS = '~routes';

/** The random part of the id of a run of a route: 128 bits. Its client sends it to join the run, alone, or as the first part of the id of a chunk. */
const SECRET = /^([\w-]{22})(?:$|\.)/;

/**
 * The naming of runs of routes, whose ids are created by {@link idOfRoute}. The random part of an id is the first part of the ids of its chunks: so a
 * client that sends the id of a chunk also says which run it belongs to.
 */
export const routeNaming: RunNaming = {
  prefix: `~runs/${ROUTE_RUNS}`,
  logOf: (id) => `~runs/${ROUTE_RUNS}${id.slice(id.lastIndexOf('/'))}`,
  tagOf: (log) => log.slice(log.lastIndexOf('.') + 1),
  nameOf: routeIn,
  shownId: () => '',
  // The rest of the id is a secret of its client.
  textOf: (id) => `of ${routeIn(id)}`,
};

export function newSecret(): string {
  return randomBytes(16).toString('base64url');
}

/** Returns the random part of the run that an id of a client names. Returns `undefined` if it names none. */
export function secretIn(lastEventId: string): string | undefined {
  return SECRET.exec(lastEventId)?.[1];
}

/** Returns the id of a run: `route/place.secret`. The same secret at another route or path is another run. */
export function idOfRoute(route: string, path: string, secret: string): string {
  const place = createHash('sha256').update(`${route}\n${path}`).digest('base64url').slice(0, 16);
  return `${route}/${place}.${secret}`;
}

/** Returns the route of a run, given its id. */
function routeIn(id: string): string {
  return id.slice(0, id.lastIndexOf('/'));
}
