import { randomBytes } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { type CanActivate, Controller, Get, Req, type Type, UseGuards } from '@nestjs/common';
import { ConnectedStream, Stream, type StreamConnection, type StreamOptions, StreamSignal } from '../../lib/index.js';
import type { AppSetup } from './app.js';
import { type Cause, type Driver, type StreamClient } from './drivers/index.js';
import { type RunningApp, turns, useApps } from './running.js';

/** One call of a stream route. */
export interface Call {
  readonly stream: StreamConnection;
  readonly signal: AbortSignal;
  /** The part of the URL after `/feed/`. */
  readonly name: string;
}

export interface FeedSetup extends Omit<AppSetup, 'controllers'> {
  /** Returns the source of `GET /feed/:name`, which is sent as NDJSON. */
  readonly feed?: (call: Call) => unknown;
  readonly route?: StreamOptions;
  /** Runs in its guard, which waits for the result. */
  readonly guard?: () => Promise<boolean>;
  readonly controllers?: Type[];
}

export interface FeedApp extends RunningApp {
  /** The server's side of clients. */
  readonly peers: readonly EventEmitter[];
  open(path?: string, headers?: Readonly<Record<string, string>>): StreamClient;
}

/** Starts applications for drivers. They and their clients are closed after the test, also if it fails. */
export function useFeeds(): (driver: Driver, setup: FeedSetup) => Promise<FeedApp> {
  const clients: StreamClient[] = [];
  // Clients are closed first, because applications wait for them.
  afterEach(() => {
    for (const client of clients.splice(0)) {
      client.leave();
    }
  });
  const launch = useApps();

  return async (driver, { feed = () => [], route, guard, controllers = [], ...setup }) => {
    const app = await launch(driver.platform, {
      ...setup,
      ...driver.setup,
      options: { ...setup.options, ...driver.setup.options },
      controllers: [controllerOf(feed, route, guard), ...controllers],
    });
    return {
      ...app,
      text: (path) => driver.text(app.port, path),
      peers: driver.peers(app),
      open(path = '/feed', headers = {}) {
        const client = driver.open(app.port, path, headers);
        clients.push(client);
        return client;
      },
    };
  };
}

function controllerOf(
  produce: (call: Call) => unknown,
  route: StreamOptions = {},
  guard: () => Promise<boolean> = async () => true,
): Type {
  class Guard implements CanActivate {
    canActivate = guard;
  }
  @Controller()
  class Feed {
    @Stream(['feed', 'feed/:name'], { format: 'ndjson', ...route })
    @UseGuards(Guard)
    feed(
      @ConnectedStream() stream: StreamConnection,
      @StreamSignal() signal: AbortSignal,
      @Req() request: { readonly params: { readonly name?: string } },
    ): unknown {
      return produce({ stream, signal, name: request.params.name ?? '' });
    }

    @Get('plain')
    plain(): string {
      return 'fine';
    }
  }
  return Feed;
}

/** Calls a function at the end of the turn in which the server notices that a client has disconnected. */
export function atDisconnect<T>(peer: EventEmitter | undefined, look: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    if (!peer) {
      reject(new Error('There is no such client'));
    }
    peer?.once('close', () =>
      setImmediate(() => {
        try {
          resolve(look());
        } catch (error) {
          reject(error);
        }
      }),
    );
  });
}

/** Waits until a condition holds, and checks it in every turn. */
export async function eventually(done: () => boolean): Promise<void> {
  while (!done()) {
    await turns(1);
  }
}

/** Waits for the end of a stream, and expects the end that its client can observe. */
export async function expectEnd(driver: Driver, client: StreamClient, cause: Cause): Promise<void> {
  expect(driver.endings[cause]).toContain(await client.ended());
}

/** Text that compression hardly makes shorter. */
export function noise(length: number): string {
  return randomBytes(length).toString('base64').slice(0, length);
}
