import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Sees what the target sends, and returns what is passed on. If that is less, the connection is closed behind it. */
export type Tap = (data: Buffer) => Buffer;

/** A TCP proxy on 127.0.0.1, which can lose the network on one side or the other. */
export class TcpProxy {
  private readonly links = new Set<Link>();
  /** Whether new connections reach the target. */
  private open = true;

  private constructor(
    private readonly server: Server,
    /** The port that connections are passed on to. A new one applies to new connections. */
    public target: number,
    tap: Tap,
  ) {
    server.on('connection', (socket) => {
      const link = new Link(socket, this.target, tap, () => this.links.delete(link));
      this.links.add(link);
      if (!this.open) {
        link.drop();
      }
    });
  }

  static async start(target: number, tap: Tap = (data) => data): Promise<TcpProxy> {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(server, target, tap);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Drops everything that the present connections send from now on, in both directions, without closing them. */
  drop(): void {
    for (const link of this.links) {
      link.drop();
    }
  }

  /** Drops everything, also from new connections. */
  partition(): void {
    this.open = false;
    this.drop();
  }

  /** Passes new connections on again. The present ones stay lost. */
  heal(): void {
    this.open = true;
  }

  /** Closes all connections. */
  cut(): void {
    for (const link of this.links) {
      link.cut();
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.cut();
    await closed;
  }
}

/** A connection of a client, and that to the target. */
class Link {
  private readonly far: Socket;
  private lost = false;

  constructor(
    private readonly near: Socket,
    target: number,
    tap: Tap,
    private readonly onEnd: () => void,
  ) {
    this.far = connect(target, '127.0.0.1');
    this.pass(near, this.far, (data) => data);
    this.pass(this.far, near, tap);
    near.resume();
  }

  drop(): void {
    this.lost = true;
  }

  cut(): void {
    this.near.destroy();
    this.far.destroy();
    this.onEnd();
  }

  private pass(from: Socket, to: Socket, tap: Tap): void {
    from.on('data', (data) => {
      if (this.lost || to.destroyed) {
        return;
      }
      const passed = tap(data);
      to.write(passed);
      if (passed.length < data.length) {
        to.end(() => this.cut());
      }
    });
    // The close that follows says the same.
    from.on('error', () => undefined);
    // The client of a lost connection does not learn that its target has closed it.
    from.on('close', () => {
      if (!this.lost || from === this.near) {
        this.cut();
      }
    });
  }
}
