import type { LogNames } from './names.js';
import type { Session } from './session.js';

/**
 * Checks that the user of NATS may send all requests that the broker needs for a hub: most would only be sent later. They change nothing. Subscriptions are checked when they are
 * made.
 * @throws {PermissionError} if one is not permitted
 */
export async function checkPermissions(session: Session, { stream, subject, all }: LogNames): Promise<void> {
  const requests = ['STREAM.UPDATE', 'STREAM.PURGE', 'STREAM.MSG.GET', 'DIRECT.GET'];
  await Promise.all([
    // JetStream refuses it, since it is no JSON.
    ...requests.map((name) => session.request(`$JS.API.${name}.${stream}`, 'probe')),
    // JetStream refuses it, since the stream has another name.
    session.request(all === subject ? subject : `${subject}.mark.0`, '', ['Nats-Expected-Stream', '-']),
  ]);
}
