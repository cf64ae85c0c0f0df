import { createParser } from 'eventsource-parser';
import { Recorder } from '../support/events.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { type Environment, WebProcess } from './app.process.js';

import.meta.jest.setTimeout(120_000);

const PROCESSES: readonly Environment[] = [
  { PLATFORM: 'express', CLIENT: 'redis' },
  { PLATFORM: 'fastify', CLIENT: 'ioredis' },
  { PLATFORM: 'express', CLIENT: 'redis', TAIL: 'pubsub' },
];

interface Member {
  readonly id: string;
}

/** Someone in a room, or who only watches it. */
class Visitor {
  readonly changes = new Recorder();
  private readonly leaving = new AbortController();

  private constructor() {}

  /** Opens the stream of a room, and waits until it has begun. */
  static async enter({ port }: WebProcess, id?: string): Promise<Visitor> {
    const visitor = new Visitor();
    const url = `http://127.0.0.1:${port}/rooms/red${id === undefined ? '' : `?id=${id}`}`;
    const { body } = await fetch(url, { signal: visitor.leaving.signal });
    const parser = createParser({
      onEvent: ({ event, data }) => {
        if (event === 'members') {
          const { joined, left } = JSON.parse(data) as { joined: Member[]; left: Member[] };
          const changes = [...joined.map((each) => `+${each.id}`), ...left.map((each) => `-${each.id}`)];
          changes.forEach(visitor.changes.add);
        }
      },
    });
    const read = async (): Promise<void> => {
      for await (const part of body?.pipeThrough(new TextDecoderStream()) ?? []) {
        parser.feed(part);
      }
    };
    read().catch(() => undefined);
    return visitor;
  }

  leave(): void {
    this.leaving.abort();
  }
}

async function membersOf({ port }: WebProcess): Promise<string[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/rooms/red/members`);
  return ((await answer.json()) as Member[]).map(({ id }) => id).sort();
}

describeWith('redis-server')('Three application processes on one Redis:', () => {
  let server: RedisServer;
  let webs: WebProcess[] = [];
  const visitors: Visitor[] = [];

  beforeAll(async () => {
    server = await RedisServer.start();
    const env = { REDIS_URL: server.url };
    webs = await Promise.all(PROCESSES.map((each, index) => WebProcess.start(`web ${index}`, { ...each, ...env })));
  });

  afterAll(async () => {
    for (const visitor of visitors) {
      visitor.leave();
    }
    await Promise.all(webs.map((web) => web.end('SIGKILL')));
    await server?.stop();
  });

  const enter = async (web: WebProcess, id?: string): Promise<Visitor> => {
    const visitor = await Visitor.enter(web, id);
    visitors.push(visitor);
    return visitor;
  };

  it('members of a process that is killed leave once, unless they come back, and so do those of one that closes', async () => {
    const [a, b, c] = webs as [WebProcess, WebProcess, WebProcess];
    const watchers = [await enter(a), await enter(c)] as const;
    await enter(a, 'u1');
    for (const id of ['u1', 'u2', 'u3']) {
      await enter(b, id);
    }
    for (const { changes } of watchers) {
      expect((await changes.count(3)).toSorted()).toEqual(['+u1', '+u2', '+u3']);
    }
    for (const web of webs) {
      expect(await membersOf(web)).toEqual(['u1', 'u2', 'u3']);
    }

    await b.end('SIGKILL');
    await enter(c, 'u3');
    for (const { changes } of watchers) {
      expect((await changes.count(4)).at(-1)).toBe('-u2');
    }
    expect(await membersOf(a)).toEqual(['u1', 'u3']);
    expect(await membersOf(c)).toEqual(['u1', 'u3']);

    await b.start();
    await enter(b, 'u4');
    expect(await membersOf(b)).toEqual(['u1', 'u3', 'u4']);
    for (const { changes } of watchers) {
      expect((await changes.count(5)).at(-1)).toBe('+u4');
    }

    await a.end('SIGTERM');
    const [, { changes }] = watchers;
    expect((await changes.count(6)).at(-1)).toBe('-u1');
    expect(await membersOf(b)).toEqual(['u3', 'u4']);
    await enter(b, 'u5');
    expect((await changes.count(7)).slice(3)).toEqual(['-u2', '+u4', '-u1', '+u5']);
  });
});
