import { once } from 'node:events';
import type { INestApplicationContext } from '@nestjs/common';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
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

/** Waits until a hub has a number of subscribers. */
export async function joined(hub: Hub<never> | Hub, size: number): Promise<void> {
  if (hub.size() !== size) {
    await firstValueFrom(hub.presence.pipe(filter((event) => event.size === size)));
  }
}

/** Publishes values in order, all in one turn of the event loop. Resolves to their ids. */
export function publishAll(hub: Hub, data: readonly unknown[], options?: PublishOptions): Promise<string[]> {
  return Promise.all(data.map((each) => hub.publish(each, options)));
}

/** The numbers from one to another, both included. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** The complete records of an event stream that have data. */
export function recordsOf(body: string): EventSourceMessage[] {
  const records: EventSourceMessage[] = [];
  createParser({ onEvent: (record) => records.push(record) }).feed(body);
  return records;
}

/** The records except those of type `position` and `shutdown`. */
export function eventsOf(body: string): EventSourceMessage[] {
  return recordsOf(body).filter(({ event }) => event !== 'position' && event !== 'shutdown');
}

/** The data of the events. */
export function dataOf(body: string): string[] {
  return eventsOf(body).map(({ data }) => data);
}

/** Waits until a client has a number of complete events, and returns them. */
export async function eventsUntil(client: RawClient, count: number): Promise<EventSourceMessage[]> {
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

/** Waits until a short text is at the end of the data that a client receives from now on. Does not search all of the data each time. */
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

/** Publishes 1, 2, 3, … in the turns of the event loop, until it is stopped. */
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

  /** Stops. Resolves to the number that was published last. */
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
