import { documentedConfig, Nginx, type NginxConfig } from '../../support/nginx.js';
import { TcpProxy } from '../../support/tcp-proxy.js';
import type { Settings } from './clients.js';
import { RestlessServer } from './reconnects.js';
import { Scene } from './scene.js';
import type { Lane, Stage } from './stage.js';

/** What a client must be able to do to meet a fault. */
export type Need = 'POST' | 'headers' | 'tabs' | 'tabs: pause' | 'HTTP/1.0' | 'many connections';

/** Something that goes wrong. */
export interface Fault {
  /** What the table says. */
  readonly title: string;
  readonly needs?: Need;
  /** What this client must make of it. */
  readonly ours: string;
  /** Whether it takes so long that it must begin first. */
  readonly isSlow?: true;
  /** Resolves to what became of each client. */
  run(scene: Scene, lanes: readonly Lane[]): Promise<string[]>;
}

const RESUMES = 'resumes without loss';
const GIVES_UP = 'gives up with an error';
/** How often a client reports a problem before its network is back. */
const PROBLEMS = 3;
/** The value of `Retry-After`, in seconds, and how often the server sends it. */
const RETRY_AFTER = 2;
const REFUSALS = 2;
/** How many times the responses are cut until a pattern shows. */
const CUTS = 4;
/** How often clients are disconnected to see whether they keep memory. */
const RECONNECTS = 500;
/** How many responses and signals of the last attempts a client may still refer to. */
const MOST_KEPT = 20;

/** An nginx with HTTP/1.1 and WebSockets, and nothing else. */
const forwarding: NginxConfig = (port, app) => `server {
  listen 127.0.0.1:${port};
  location / {
    proxy_pass http://127.0.0.1:${app};
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
  }
}`;

/** An old nginx sends HTTP/1.0, in which the end of the connection is the end of the body. */
const withHttp10: NginxConfig = (port, app) => `server {
  listen 127.0.0.1:${port};
  location / {
    proxy_pass http://127.0.0.1:${app};
    proxy_http_version 1.0;
  }
}`;

/** Starts the clients behind nginx, and returns the network between nginx and the server. */
async function behindNginx(scene: Scene, lanes: readonly Lane[], config: NginxConfig): Promise<TcpProxy> {
  await scene.serve();
  const network = scene.keep(await TcpProxy.start(scene.port));
  const nginx = scene.keep(await Nginx.start(network.port, config));
  await scene.open(lanes, { port: nginx.port });
  return network;
}

/** The clients lose a server behind nginx, and each asks at least once before it is back. */
const whileAway = (config: NginxConfig) => async (scene: Scene, lanes: readonly Lane[]) => {
  const network = await behindNginx(scene, lanes, config);
  loseServer(network);
  await scene.each(async (stage) => {
    await stage.until(() => stage.gatewayResponses > 0 || stage.over !== undefined, 'a response of nginx');
    await scene.publish(stage, 2);
  });
  network.target = scene.port;
  return scene.each((stage) => scene.finish(stage, 3));
};

/** Closes all connections, and refuses new ones. */
function loseServer(network: TcpProxy): void {
  // Nothing listens on this port.
  network.target = 1;
  network.cut();
}

/** Ends the server, publishes an item while it is away, and starts another one, which the clients find at the same address. */
const restarted = (start: (scene: Scene) => Promise<void>) => async (scene: Scene, lanes: readonly Lane[]) => {
  await start(scene);
  await scene.open(lanes);
  await scene.endServer();
  await scene.each((stage) => scene.publish(stage, 2));
  await start(scene);
  return scene.each((stage) => {
    stage.network.target = scene.port;
    return scene.finish(stage, 3);
  });
};

/** What happens while a client has no network. */
interface Interruption {
  /** How often the client reports a problem before it ends. Default: 1. */
  readonly problems?: number;
  readonly meanwhile?: () => void;
}

/** Takes the network from a client until it has noticed that or given up, and publishes an item that it misses. */
async function interrupt(scene: Scene, stage: Stage, { problems = 1, meanwhile }: Interruption = {}): Promise<void> {
  const most = stage.problems + problems;
  loseServer(stage.network);
  await scene.publish(stage, 2);
  await stage.until(() => stage.problems >= most || stage.over !== undefined, 'the loss of the network');
  // Only now: requests from before may still reach the server, but their responses do not reach the client.
  stage.begin();
  meanwhile?.();
  stage.network.target = scene.port;
}

/** A fault that each client meets for itself. */
const alone =
  (run: (scene: Scene, stage: Stage) => Promise<string>, options: { path?: string; settings?: Settings } = {}) =>
  async (scene: Scene, lanes: readonly Lane[]): Promise<string[]> => {
    await scene.serve();
    await scene.open(lanes, options);
    return scene.each((stage) => run(scene, stage));
  };

/** Refuses a number of requests after the connection was lost. */
const afterStatus = (status: number, times: number) =>
  alone(async (scene, stage) => {
    await interrupt(scene, stage, { meanwhile: () => scene.refuse(stage, { status, times }) });
    return scene.finish(stage, 3);
  });

const SERVER: readonly Fault[] = [
  {
    title: 'The server restarts with `app.close()`',
    ours: RESUMES,
    run: restarted((scene) => scene.serve()),
  },
  {
    title: 'The process of the server is killed',
    isSlow: true,
    ours: RESUMES,
    run: restarted((scene) => scene.fork()),
  },
  {
    title: 'nginx responds with 502 until the server is back',
    ours: RESUMES,
    run: whileAway(forwarding),
  },
  {
    title: 'The same, with the [configuration of nginx](deploying.md#configure-nginx) in this documentation',
    ours: RESUMES,
    run: whileAway(documentedConfig),
  },
];

const NETWORK: readonly Fault[] = [
  {
    title: 'The connection is cut in the middle of an event',
    ours: RESUMES,
    run: alone(async (scene, stage) => {
      stage.cutWithin('"n":2');
      await scene.publish(stage, 2);
      return scene.finish(stage, 3);
    }),
  },
  {
    title: 'A proxy loses the server, and ends the response as if it were complete',
    needs: 'HTTP/1.0',
    ours: RESUMES,
    async run(scene, lanes) {
      const network = await behindNginx(scene, lanes, withHttp10);
      network.cut();
      return scene.each(async (stage) => {
        await scene.publish(stage, 2);
        return scene.finish(stage, 3);
      });
    },
  },
  {
    title: 'The network fails without a sign (half-open connection)',
    ours: RESUMES,
    async run(scene, lanes) {
      await scene.serve();
      await scene.open(lanes);
      const isOurs = ({ lane }: Stage): boolean => lane.client === 'ours';
      const ours = scene.stages.filter(isOurs);
      // The others have at least the time that this client needs to notice it.
      for (const stage of [...scene.stages.filter((each) => !isOurs(each)), ...ours]) {
        stage.network.drop();
        await scene.publish(stage, 2);
      }
      const noticed = Promise.all(ours.map((stage) => scene.finish(stage, 3)));
      return scene.each(async (stage) => {
        await noticed;
        return isOurs(stage) || stage.isBack || stage.over ? stage.outcome(3) : 'does not notice';
      });
    },
  },
  {
    title: 'The device is offline for some time',
    ours: RESUMES,
    run: alone(async (scene, stage) => {
      await stage.client.setOffline(true);
      await interrupt(scene, stage, { problems: PROBLEMS });
      await stage.client.setOffline(false);
      return scene.finish(stage, 3);
    }),
  },
  {
    title: `The connection is lost ${CUTS} times`,
    ours: RESUMES,
    run: alone(async (scene, stage) => {
      for (let n = 2; n < CUTS + 2; n++) {
        stage.begin();
        stage.network.cut();
        await stage.untilSettled();
        await scene.publish(stage, n);
        await stage.until(() => stage.items.includes(n) || stage.over !== undefined, `item ${n}`);
      }
      return `${stage.outcome(CUTS + 1)}${stage.waitsLonger ? ', but waits twice as long each time' : ''}`;
    }),
  },
  {
    title: `The connection is lost ${RECONNECTS} times`,
    needs: 'many connections',
    isSlow: true,
    ours: 'resumes without loss, and keeps no response in memory',
    async run(scene, lanes) {
      const { port } = scene.keep(await RestlessServer.start(RECONNECTS));
      scene.cast(lanes);
      await scene.each(async (stage) => {
        await stage.start(port, '', { atOnce: true });
        await stage.until(() => stage.items.length >= RECONNECTS || stage.over !== undefined, `${RECONNECTS} items`);
      });
      return scene.each(async (stage) => `${stage.outcome(RECONNECTS)}${memoryOf(await stage.client.kept())}`);
    },
  },
];

const REFUSED: readonly Fault[] = [
  {
    title: 'The server responds with 401 once',
    ours: GIVES_UP,
    run: afterStatus(401, 1),
  },
  {
    title: 'The server responds with 401 each time',
    ours: GIVES_UP,
    run: afterStatus(401, Number.POSITIVE_INFINITY),
  },
  {
    title: 'The token of the request has expired, and there is a new one',
    needs: 'headers',
    ours: RESUMES,
    run: alone(async (scene, stage) => {
      await stage.client.setToken('second');
      await interrupt(scene, stage, { meanwhile: () => scene.demand(stage, 'second') });
      return scene.finish(stage, 3);
    }),
  },
  {
    title: 'The server responds with 429 and `Retry-After`',
    ours: 'waits as asked, and resumes without loss',
    run: alone(async (scene, stage) => {
      const refusal = { status: 429, retryAfter: RETRY_AFTER, times: REFUSALS };
      await interrupt(scene, stage, { meanwhile: () => scene.refuse(stage, refusal) });
      const outcome = await scene.finish(stage, 3);
      return stage.over ? outcome : `${waitsAsAsked(stage) ? 'waits as asked' : 'does not wait'}, and ${outcome}`;
    }),
  },
];

/** Says what a number of objects means that a client still refers to. It is not known of the EventSource of a browser. */
function memoryOf(kept: number | undefined): string {
  if (kept === undefined) {
    return '';
  }
  return kept > MOST_KEPT ? ', but keeps responses in memory' : ', and keeps no response in memory';
}

/** Whether the client has waited after each refusal. On a busy machine, a client that does not wait may be late once. */
function waitsAsAsked({ later }: Stage): boolean {
  // A timer may be due a millisecond early.
  return later.every(({ status, at }, i) => status !== 429 || (later[i + 1]?.at ?? 0) - at >= RETRY_AFTER * 1_000 - 10);
}

const POSTS: readonly Fault[] = [
  {
    title: 'A `POST` is cut, and its events have ids',
    needs: 'POST',
    ours: 'repeats the `POST` with the last id, and resumes without loss',
    run: alone(
      async (scene, stage) => {
        await interrupt(scene, stage);
        const outcome = await scene.finish(stage, 3);
        return `${stage.repeatsBody ? 'repeats the `POST` with the last id, and ' : ''}${outcome}`;
      },
      { settings: { method: 'POST' } },
    ),
  },
  {
    title: 'A `POST` is cut, and its events have no ids',
    needs: 'POST',
    ours: GIVES_UP,
    run: alone(
      async (_scene, stage) => {
        stage.network.cut();
        await stage.until(() => stage.later.length > 0 || stage.over !== undefined, 'a second request or the end');
        return stage.repeatsBody ? 'repeats the `POST`, which the server then handles twice' : stage.outcome(2);
      },
      { path: '/plain', settings: { method: 'POST' } },
    ),
  },
];

const hidden = (settings?: Settings) =>
  alone(
    async (scene, stage) => {
      await stage.client.setHidden(true);
      await scene.publish(stage, 2);
      await stage.until(() => stage.items.includes(2) || stage.hasLeft, 'an item or the disconnect');
      const { hasLeft } = stage;
      await stage.client.setHidden(false);
      if (hasLeft) {
        return `disconnects, and ${await scene.finish(stage, 3)}`;
      }
      return 'stays connected';
    },
    { settings },
  );

const TABS: readonly Fault[] = [
  { title: 'The tab is hidden for some time', needs: 'tabs', ours: 'stays connected', run: hidden() },
  {
    title: "The tab is hidden, with the option `hidden: 'pause'`",
    needs: 'tabs: pause',
    ours: 'disconnects, and resumes without loss',
    run: hidden({ hidden: 'pause' }),
  },
];

export const FAULTS: readonly Fault[] = [...SERVER, ...NETWORK, ...REFUSED, ...POSTS, ...TABS];

/** Runs a fault. Resolves to what became of each client, by the name of its lane. */
export async function runFault(fault: Fault, lanes: readonly Lane[]): Promise<ReadonlyMap<string, string>> {
  const scene = new Scene(`fault-${FAULTS.indexOf(fault)}`);
  try {
    const outcomes = await fault.run(scene, lanes);
    return new Map(scene.stages.map(({ lane }, i) => [lane.name, outcomes[i] ?? '']));
  } finally {
    await scene.close();
  }
}
