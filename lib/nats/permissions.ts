import type { LogNames } from './names.js';
import type { Session } from './session.js';

/**
 * Checks that the user of NATS may send all requests that the broker needs for a hub: most would only be sent later. Subscriptions are checked when they are made.
 * @throws {PermissionError} if one is not permitted
 */
export async function checkPermissions(session: Session, { stream, subject, all }: LogNames): Promise<void> {
  // They change nothing. Each is valid: what a server does with another one depends on its version.
  const requests = {
    // The name is that of another stream.
    'STREAM.UPDATE': { name: '-' },
    // There are no messages with this subject.
    'STREAM.PURGE': { filter: `${subject}.none` },
    'STREAM.MSG.GET': { seq: 0 },
    'DIRECT.GET': { seq: 0 },
  };
  await Promise.all([
    ...Object.entries(requests).map(([name, body]) =>
      session.request(`$JS.API.${name}.${stream}`, JSON.stringify(body)),
    ),
    // The stream refuses it, since it has another name.
    session.request(all === subject ? subject : `${subject}.mark.0`, '', ['Nats-Expected-Stream', '-']),
  ]);
}
