import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext, runInThisContext } from 'node:vm';
import { build } from 'esbuild';
import type { BrowserContext, CDPSession, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { launchChromium } from '../../support/chromium.js';
import { ROOT } from '../../support/documentation.js';
import { toolPath } from '../../support/tools.js';
import type { Report, Settings, Start, Tracker } from './clients.js';

/** A name of a client in the bundle. */
export type ClientName = 'ours' | 'fetchEventSource' | 'eventsource' | 'heyApi' | 'EventSource';

const HEY_API = join(ROOT, 'node_modules/@hey-api/openapi-ts/dist/clients/fetch/index.ts');
/** The generator of hey-api copies its client from this folder into the project of its user. */
const ENTRY = `import { createClient, createConfig } from '${HEY_API}';
import * as clients from './clients.js';
export const { Tracker } = clients;
export const starts = {
  ours: clients.ours,
  fetchEventSource: clients.fetchEventSourceClient,
  eventsource: clients.eventSourcePackage,
  EventSource: clients.browserEventSource,
  heyApi: clients.heyApi((config) => createClient(createConfig(config))),
};`;

/** Returns the script that sets the variable `bundle`. */
export async function bundleOfClients(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: ENTRY, resolveDir: join(ROOT, 'test/client/faults'), loader: 'ts' },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'bundle',
  });
  return outputFiles[0]?.text ?? '';
}

/** A client that runs. */
export interface Running {
  /** Sets the value of the header `Authorization` for the next attempts. */
  setToken(token: string): Promise<void>;
  /** Turns the network of the page off or on. Does nothing in Node.js. */
  setOffline(offline: boolean): Promise<void>;
  /** Hides or shows the tab. Not possible in Node.js. */
  setHidden(hidden: boolean): Promise<void>;
  /** Collects garbage. Resolves to how many responses and signals the client still refers to, if that is known. */
  kept(): Promise<number | undefined>;
  stop(): Promise<void>;
}

type OnReport = (report: Report) => void;

/** Where clients run. */
export interface Place {
  start(client: ClientName, url: string, settings: Settings, report: OnReport): Promise<Running>;
}

interface Bundle {
  readonly starts: Readonly<Record<ClientName, Start>>;
  readonly Tracker: new () => Tracker;
}

/** This process: not the realm of the tests, but that of programs. */
export class NodePlace implements Place {
  private readonly bundle: Bundle;

  constructor(script: string) {
    this.bundle = runInThisContext(`(() => { ${script}; return bundle; })()`);
  }

  async start(client: ClientName, url: string, settings: Settings, report: OnReport): Promise<Running> {
    let token = 'first';
    const tracker = new this.bundle.Tracker();
    const environment = { token: () => token, report, WebSocket: WebSocket as never, fetch: tracker.fetch };
    const stop = this.bundle.starts[client](url, settings, environment);
    return {
      setToken: async (next) => {
        token = next;
      },
      setOffline: async () => undefined,
      setHidden: () => Promise.reject(new Error('There are no tabs in Node.js')),
      kept: async () => {
        await collectGarbage();
        return tracker.alive();
      },
      stop: async () => stop(),
    };
  }
}

/** A browser with one page for each client. */
export class ChromiumPlace implements Place {
  private constructor(
    private readonly browser: BrowserContext,
    private readonly profile: string,
    private readonly script: string,
  ) {}

  static async open(script: string): Promise<ChromiumPlace> {
    const profile = await mkdtemp(join(tmpdir(), 'faults-'));
    return new ChromiumPlace(await launchChromium(toolPath('chromium') ?? '', profile), profile, script);
  }

  async start(client: ClientName, url: string, settings: Settings, report: OnReport): Promise<Running> {
    const page = await this.browser.newPage();
    await page.exposeFunction('report', report);
    await page.goto(new URL('/', url).href);
    await page.evaluate(`${this.script}; window.token = 'first'; window.tracker = new bundle.Tracker();
      const environment = { token: () => token, report, fetch: tracker.fetch };
      bundle.starts.${client}(${JSON.stringify(url)}, ${JSON.stringify(settings)}, environment); undefined`);
    return runningIn(page, await this.browser.newCDPSession(page));
  }

  async close(): Promise<void> {
    await this.browser.close();
    await rm(this.profile, { recursive: true, force: true });
  }
}

function runningIn(page: Page, devtools: CDPSession): Running {
  return {
    setToken: async (token) => void (await page.evaluate(`window.token = ${JSON.stringify(token)}`)),
    setOffline: async (offline) => {
      const unlimited = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
      await devtools.send('Network.enable');
      await devtools.send('Network.emulateNetworkConditions', { offline, ...unlimited });
    },
    setHidden: async (hidden) =>
      void (await page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))`)),
    kept: async () => {
      await page.requestGC();
      return page.evaluate('tracker.alive()');
    },
    stop: () => page.close(),
  };
}

/** Collects the garbage of this process. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // An object to which a WeakRef refers is kept until the turn ends in which it was created or read.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
}
