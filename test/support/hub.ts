import { once } from 'node:events';
import type { INestApplicationContext } from '@nestjs/common';
import { filter, firstValueFrom } from 'rxjs';
import { getHubToken, type Hub, type PublishOptions } from '../../lib/index.js';
import type { RawClient } from './raw-client.js';
import { turns } from './running.js';

export const SSE = { Accept: 'text/event-stream' } as const;
export const NDJSON = { Accept: 'application/x-ndjson' } as const;

/** A hub of an application. */
export function hubOf<T = unknown>({ app }: { readonly app: INestApplicationContext }, name = 'feed'): Hub<T> {
  return app.get<Hub<T>>(getHubToken(name));
}

/** Waits until a hub has so many subscribers. */
export async function joined(hub: Hub<never> | Hub, size: number): Promise<void> {
  if (hub.size() !== size) {
    await firstValueFrom(hub.presence.pipe(filter((event) => event.size === size)));
  }
}

/** Publishes one after the other, all in one turn of the event loop, without waiting in between. Resolves to their ids. */
export function publishAll(hub: Hub, data: readonly unknown[], options?: PublishOptions): Promise<string[]> {
  return Promise.all(data.map((each) => hub.publish(each, options)));
}

/** The numbers from one up to another, both included. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** What stands between two empty lines of an event stream. */
export interface SseRecord {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
}

/** The records of an event stream that have arrived whole, heartbeats left out. */
export function recordsOf(body: string): SseRecord[] {
  return body
    .split('\n\n')
    .slice(0, -1)
    .map((record) => {
      const fields: Record<string, string> = {};
      for (const line of record.split('\n')) {
        const [, name = '', value = ''] = /^([^:]*): ?(.*)$/.exec(line) ?? [];
        fields[name] = fields[name] === undefined ? value : `${fields[name]}\n${value}`;
      }
      delete fields[''];
      return fields as SseRecord;
    })
    .filter((record) => Object.keys(record).length > 0);
}

/** The events among the records: those with data, without what says only where a client is, or when to come back. */
export function eventsOf(body: string): SseRecord[] {
  return recordsOf(body).filter(
    ({ data, event }) => data !== undefined && event !== 'position' && event !== 'shutdown',
  );
}

/** The data of the events. */
export function dataOf(body: string): (string | undefined)[] {
  return eventsOf(body).map(({ data }) => data);
}

/** Waits until a client has so many whole events, and returns them. */
export async function eventsUntil(client: RawClient, count: number): Promise<SseRecord[]> {
  for (;;) {
    const events = eventsOf(client.body);
    if (events.length >= count) {
      return events;
    }
    if (client.socket.destroyed) {
      throw new Error(`The connection closed after ${events.length} events`);
    }
    await Promise.race([once(client.socket, 'data'), once(client.socket, 'close')]);
  }
}

/** Waits for something short at the end of what a client receives from now on, without a look at all of it each time. */
export function untilLast(client: RawClient, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let tail = '';
    client.socket.on('close', () => reject(new Error(`The connection closed before ${text} came`)));
    client.socket.on('data', (data: string) => {
      tail = `${tail.slice(-text.length)}${data}`;
      if (tail.includes(text)) {
        resolve();
      }
    });
  });
}

/** Publishes 1, 2, 3, … in every turn of the event loop, until it is stopped. */
export class PublishLoop {
  readonly ids: string[] = [];
  private going = true;
  private readonly done: Promise<void>;

  constructor(
    private readonly hub: Hub,
    private readonly perTurn = 1,
  ) {
    this.done = this.run();
  }

  /** Stops. What was published last is its number. */
  async stop(): Promise<number> {
    this.going = false;
    await this.done;
    return this.ids.length;
  }

  private async run(): Promise<void> {
    while (this.going) {
      this.ids.push(...(await publishAll(this.hub, range(this.ids.length + 1, this.ids.length + this.perTurn))));
      await turns(1);
    }
  }
}
