import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { KnownLog } from './known-log.js';
import { logNames } from './names.js';
import type { TopicMarks } from './topic-marks.js';
import { TopicTails } from './topic-tails.js';

const NAMES = logNames('ns', 'feed', true);
const ID = 'a1';

/** A stream whose messages arrive when the test says so. */
function createStream() {
  const callbacks = new Map<string, (error: Error | null, message: Msg) => void>();
  let last = 0;
  const arrive = (subject: string, seq: number, previous: number): void => {
    const headers = new Map([
      ['Nats-Sequence', `${seq}`],
      ['Nats-Last-Sequence', `${previous}`],
      ['Nats-Time-Stamp', '2026-01-01T00:00:00Z'],
    ]);
    const message = { subject: `${NAMES.tail}.${ID}.${subject}`, headers, string: () => `{"e":"text"}\n${seq}` };
    const pattern = `${NAMES.tail}.*.${subject.replace(/^mark\..*/, 'mark.*')}`;
    callbacks.get(pattern)?.(null, message as unknown as Msg);
  };
  const connection = {
    subscribe: (subject: string, { callback }: { callback: (error: Error | null, message: Msg) => void }) => {
      callbacks.set(subject, callback);
      return { unsubscribe: () => callbacks.delete(subject) };
    },
  };
  /** Whether marks arrive. */
  const network = { isUp: true };
  const marks = {
    publish: async () => {
      if (!network.isUp) {
        throw new Error('there is no connection');
      }
      arrive('mark.0', ++last, 0);
      return { id: ID, seq: last };
    },
    saw: () => undefined,
    inTime: <T>(promise: Promise<T>) => promise,
  };
  return {
    network,
    link: { session: undefined, connection: connection as unknown as NatsConnection },
    marks: marks as unknown as TopicMarks,
    /** Appends a record to a topic, which arrives or is lost. */
    append: (topic: string, previous: number, arrives = true): void => {
      last++;
      if (arrives) {
        arrive(`t.${topic}`, last, previous);
      }
    },
  };
}

async function start() {
  const stream = createStream();
  const log = new KnownLog(
    'feed',
    NAMES,
    { limit: 10, ttl: 1_000 },
    { storage: 'memory', replicas: 1, trustRestarts: true },
    true,
  );
  const tails = new TopicTails(log, { link: stream.link, marks: stream.marks, server: 'NATS' });
  const calls: string[] = [];
  const tail = await tails.add({
    onRecords: (records) => calls.push(...records.map(({ topic, offset }) => `record ${topic ?? offset}`)),
    onReached: ({ offset }) => calls.push(`reached ${offset}`),
    onMissed: ({ offset }) => calls.push(`missed ${offset}`),
  });
  await tail.add(['red']);
  calls.splice(0);
  return { stream, tails, tail, calls };
}

describe('The tails of the topics of a log', () => {
  it('deliver nothing that comes after a lost connection before they say what was missed', async () => {
    const { stream, tails, tail, calls } = await start();
    stream.network.isUp = false;
    tails.onLost();
    stream.append('red', 0, false);
    // The driver has subscribed again, and there is no session yet.
    stream.append('red', 3);
    const held = [...calls];
    stream.network.isUp = true;
    tails.resync();
    await tail.add(['blue']);
    stream.append('red', 4);

    expect(held).toEqual([]);
    expect(calls[0]).toMatch(/^missed /);
    // What is before the mark can be read.
    expect(calls.filter((call) => call.startsWith('record '))).toHaveLength(1);
    tails.end();
  });

  it('add a topic only after they say what was missed of the others', async () => {
    const { stream, tails, tail, calls } = await start();
    stream.network.isUp = false;
    tails.onLost();
    // The first attempt fails, and is repeated later.
    await new Promise((resolve) => setImmediate(resolve));
    stream.network.isUp = true;
    const { offset } = await tail.add(['blue']);
    calls.push(`added ${offset}`);

    expect(calls[0]).toMatch(/^missed /);
    tails.end();
  });
});
