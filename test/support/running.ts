import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type AppSetup, type Platform, startApp, type TestApp } from './app.js';
import { Recorder } from './events.js';
import { RawClient } from './raw-client.js';
import { writesBeside } from './round-writer.js';

/** An application that is closed with all its clients after its test. */
export interface RunningApp extends TestApp {
  /** The server's side of its connections, in the order of their arrival. */
  readonly sockets: Recorder<Socket>;
  get(path: string, headers?: Record<string, string>, method?: string): Promise<RawClient>;
  connect(): Promise<RawClient>;
  /** The body of a GET. */
  text(path: string, headers?: Record<string, string>): Promise<string>;
}

/** Starts applications, which are closed after the test, also if it fails. */
export function useApps(): (platform: Platform, setup: AppSetup) => Promise<RunningApp> {
  const running: { readonly app: TestApp; readonly clients: RawClient[] }[] = [];

  afterEach(async () => {
    for (const { app, clients } of running.splice(0)) {
      for (const client of clients) {
        client.disconnect();
      }
      await app.close();
    }
  });

  return async (platform, setup) => {
    const options = { shutdown: { grace: 0 }, ...setup.options };
    const app = await startApp(platform, { ...setup, options });
    const clients: RawClient[] = [];
    const sockets = new Recorder<Socket>();
    (app.app.getHttpServer() as Server).on('connection', sockets.add);
    let closed: Promise<void> | undefined;
    const close = (): Promise<void> => {
      closed ??= app.close();
      return closed;
    };
    const kept = (client: RawClient): RawClient => {
      clients.push(client);
      return client;
    };
    running.push({ app: { ...app, close }, clients });
    return {
      ...app,
      close,
      sockets,
      connect: async () => kept(await RawClient.connect(app.port)),
      get: async (path, headers, method) => kept(await RawClient.get(app.port, path, headers, method)),
      text: async (path, headers = {}) => (await fetch(app.url(path), { headers })).text(),
    };
  };
}

/** Waits until a number has not changed for a while, because the code that changes it waits. */
export async function untilStable(figure: () => number, ms = 60): Promise<number> {
  let last = figure();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    // If the machine was busy, the time may have passed without a turn in which the figure could change.
    await turns();
    const now = figure();
    if (now === last) {
      return now;
    }
    last = now;
  }
}

/** Waits for some turns of the event loop. */
export async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/**
 * Holds the clock of time slices, so that a stream is not interrupted because the machine is busy.
 * @returns the function that lets the clock go on
 */
export function holdClock(): () => void {
  const time = performance.now();
  Object.defineProperty(performance, 'now', { value: () => time, configurable: true });
  // The method itself is inherited.
  return () => void Reflect.deleteProperty(performance, 'now');
}

/** Counts the writes that a socket passes to the operating system, and what is sent to it beside them. */
export function countWrites(socket: Socket): () => number {
  let count = -writesBeside(socket);
  const { _write, _writev } = socket;
  socket._write = (...args) => {
    count++;
    _write.apply(socket, args);
  };
  if (_writev) {
    socket._writev = (...args) => {
      count++;
      _writev.apply(socket, args);
    };
  }
  return () => count + writesBeside(socket);
}
