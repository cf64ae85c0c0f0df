import type { Driver, Wire } from './driver.js';
import { KnownLog } from './known-log.js';
import { LogKeys } from './log-keys.js';
import { LogTail } from './log-tail.js';
import { PubSubTail } from './pubsub-tail.js';
import { RunTails } from './run-tails.js';

/** A server that answers a subscription only when the test says so. */
class SlowServer implements Wire, Driver {
  readonly cluster = false;
  readonly server = 'a server';
  readonly channels: string[] = [];
  private readonly answers: (() => void)[] = [];
  private waiting: { readonly channel: string; readonly done: () => void } | undefined;

  connect(): Promise<Wire> {
    return Promise.resolve(this);
  }

  send([command]: string[]): Promise<unknown> {
    return Promise.resolve(command === 'INFO' ? 'redis_version:7.0.0' : []);
  }

  subscribe(channels: readonly string[]): Promise<void> {
    this.channels.push(...channels);
    if (this.waiting && channels.includes(this.waiting.channel)) {
      this.waiting.done();
    }
    return new Promise((resolve) => this.answers.push(resolve));
  }

  async unsubscribe(): Promise<void> {
    await Promise.resolve();
  }

  destroy(): void {
    this.answers.splice(0);
  }

  /** Resolves when a channel is being subscribed. */
  subscribing(channel: string): Promise<void> {
    return new Promise((done) => {
      this.waiting = { channel, done };
      if (this.channels.includes(channel)) {
        done();
      }
    });
  }

  /** Answers all subscriptions until a promise settles. */
  async answerUntil(done: Promise<unknown>): Promise<void> {
    let settled = false;
    const end = done.finally(() => {
      settled = true;
    });
    while (!settled) {
      for (const answer of this.answers.splice(0)) {
        answer();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await end;
  }
}

const OPTIONS = { key: 'ns:wake', timeout: 5_000, onChange: () => undefined };

describe('A tail that begins while a new connection subscribes to the others', () => {
  it('is subscribed too: that of a hub', async () => {
    const driver = new SlowServer();
    const tails = new PubSubTail({ ...OPTIONS, driver, commands: { connection: undefined } });
    const tailOf = (name: string): LogTail => {
      const log = new KnownLog(name, new LogKeys('ns', name), { limit: 1, ttl: 1_000 }, false);
      return new LogTail(log, { epoch: '1', offset: 0 }, () => undefined);
    };

    const first = tails.add(tailOf('first'));
    await driver.subscribing('ns:{first}');
    const second = tails.add(tailOf('second'));
    await driver.answerUntil(Promise.all([first, second]));

    expect(driver.channels.toSorted()).toEqual(['ns:{first}', 'ns:{second}']);
    tails.close();
  });

  it('is subscribed too: that of a run', async () => {
    const driver = new SlowServer();
    const read = async () => ({ records: [], end: { epoch: '', offset: 0 } });
    const tails = new RunTails({ ...OPTIONS, driver, read });

    const first = tails.tail('first', () => undefined);
    await driver.subscribing('ns:wake');
    const second = tails.tail('second', () => undefined);
    const third = driver.subscribing('second').then(() => tails.tail('third', () => undefined));
    await driver.answerUntil(Promise.all([first, second, third]));

    expect(driver.channels.toSorted()).toEqual(['first', 'ns:wake', 'ns:wake:check', 'second', 'third']);
    tails.close();
  });
});
