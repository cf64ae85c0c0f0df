import { PendingAppends } from '../broker/pending-appends.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { Connection } from './connection.js';
import { RunAppender } from './run-appender.js';

/** An appender, and what it has sent: the test answers it, the oldest first. */
function begin(): { sent: Deferred<unknown>[]; write: (key: string) => Promise<unknown>; end: () => void } {
  const sent: Deferred<unknown>[] = [];
  const send = (): Promise<unknown> => {
    const answer = deferred<unknown>();
    sent.push(answer);
    return answer.promise;
  };
  const wire = { send, subscribe: send, unsubscribe: send, destroy: () => undefined };
  const connection = new Connection(wire, 60_000, () => undefined);
  const pending = new PendingAppends({ entries: 100, bytes: 1_000_000 }, 60_000, 'Redis');
  const appender = new RunAppender({ server: 'Redis', pending }, { connection, failure: undefined });
  const write = (key: string): Promise<unknown> =>
    appender
      .write({ key, entries: [{ data: 'x', encoding: 'text' }], after: undefined, creates: false, ms: undefined })
      .catch((error: { readonly code?: unknown }) => error.code);
  // Their timers end.
  const end = (): void => {
    pending.close();
    connection.lose('the test is over');
  };
  return { sent, write, end };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('A call for the log of a run that Redis has refused because it did not know the script', () => {
  it('is sent again before later calls', async () => {
    const { sent, write, end } = begin();
    const first = write('a');
    const second = write('a');
    sent[0]?.reject(new Error('NOSCRIPT No matching script'));
    await turn();
    const third = write('a');
    expect(sent).toHaveLength(2);
    sent[1]?.reject(new Error('NOSCRIPT No matching script'));
    await turn();
    expect(sent).toHaveLength(5);

    sent[2]?.resolve('7-1');
    sent[3]?.resolve('7-2');
    sent[4]?.resolve(null);
    expect(await Promise.all([first, second, third])).toEqual([
      { epoch: '7', offset: 1 },
      { epoch: '7', offset: 2 },
      false,
    ]);
    end();
  });

  it('is rejected if the next call for the same log was not refused, so that the calls keep their order', async () => {
    const { sent, write, end } = begin();
    const first = write('a');
    const other = write('b');
    const second = write('a');
    sent[0]?.reject(new Error('NOSCRIPT No matching script'));
    sent[1]?.reject(new Error('NOSCRIPT No matching script'));
    sent[2]?.resolve('7-1');

    expect(await Promise.all([first, second])).toEqual(['broker-unavailable', { epoch: '7', offset: 1 }]);
    await turn();
    expect(sent).toHaveLength(4);
    sent[3]?.resolve('8-1');
    expect(await other).toEqual({ epoch: '8', offset: 1 });
    end();
  });
});
