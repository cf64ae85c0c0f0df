import { Deadline } from '../util/deadline.js';
import { textOf } from '../util/error-text.js';
import type { Driver, PgPoolClient, Row, Value } from './driver.js';
import { answerCode, isRolledBack, unavailable } from './postgres-errors.js';

export interface Statement {
  readonly text: string;
  readonly values: readonly Value[];
}

/** Waits for a promise, but for at most `ms` milliseconds. @throws the error that `late` returns */
export async function within<T>(ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  let deadline: Deadline | undefined;
  const passed = new Promise<never>((_, reject) => {
    deadline = new Deadline(() => reject(late()));
    deadline.start(ms);
  });
  try {
    return await Promise.race([promise, passed]);
  } finally {
    deadline?.clear();
  }
}

const ignore = (): void => undefined;

/** Returns a client to its pool, which closes it if it is broken. */
function give(client: PgPoolClient, broken: boolean): void {
  // A broken one may report more than one error.
  if (!broken) {
    client.off('error', ignore);
  }
  client.release(broken);
}

/** Executes statements, each on a client that it borrows, and each within a time limit, whatever the driver does. */
export class Database {
  private readonly clients = new Set<PgPoolClient>();
  private closed = false;
  /** Whether the last attempt has succeeded. */
  private reached = false;
  private changedAt = Date.now();

  constructor(
    private readonly driver: Driver,
    readonly timeout: number,
  ) {}

  get server(): string {
    return this.driver.server;
  }

  get connected(): boolean {
    return this.reached && !this.closed;
  }

  /** Since when it is connected, or not, in milliseconds since 1970. */
  get since(): number {
    return this.changedAt;
  }

  /** Executes a statement. @throws {StreamError} `broker-unavailable` */
  async query(text: string, values: readonly Value[]): Promise<readonly Row[]> {
    try {
      return await this.execute(() => ({ text, values }));
    } catch (error) {
      throw unavailable(this.server, error);
    }
  }

  /**
   * Executes a statement that is built as soon as there is a client for it. If there is none in time, the statement is not built.
   * @param build returns `undefined` if nothing is to be executed
   * @throws the error of Postgres, of the driver or of the time limit
   */
  execute(build: () => Statement | undefined): Promise<readonly Row[]> {
    return this.withClient(async (run) => {
      const statement = build();
      return statement ? run(statement.text, statement.values) : [];
    });
  }

  /** Executes several statements on one client, within one time limit. */
  async withClient<T>(
    use: (run: (text: string, values?: readonly Value[]) => Promise<readonly Row[]>) => Promise<T>,
  ): Promise<T> {
    const client = await this.borrow();
    let broken = true;
    try {
      const run = async (text: string, values?: readonly Value[]): Promise<readonly Row[]> => {
        const { rows } = await client.query({ text, ...(values && { values: [...values] }), rowMode: 'array' });
        return rows;
      };
      const result = await within(this.timeout, use(run), () => this.late());
      broken = false;
      this.note(true);
      return result;
    } catch (error) {
      broken = !isRolledBack(error);
      this.note(!broken);
      throw error;
    } finally {
      this.release(client, broken);
    }
  }

  /** Closes all clients at once. */
  close(): void {
    this.closed = true;
    for (const client of this.clients) {
      this.release(client, true);
    }
    this.driver.close();
  }

  private async borrow(): Promise<PgPoolClient> {
    if (this.closed) {
      throw new Error('the broker is closed');
    }
    let abandoned = false;
    const borrowed = this.driver.borrow(ignore).then((client) => {
      if (abandoned || this.closed) {
        give(client, false);
      }
      return client;
    });
    try {
      const client = await within(this.timeout, borrowed, () => this.late());
      if (this.closed) {
        throw new Error('the broker is closed');
      }
      this.clients.add(client);
      return client;
    } catch (error) {
      abandoned = true;
      // The last error is the one of a later attempt, which nobody waits for.
      borrowed.catch(ignore);
      this.note(answerCode(error) !== undefined);
      throw /timeout exceeded when trying to connect/.test(textOf(error)) ? this.late() : error;
    }
  }

  private release(client: PgPoolClient, broken: boolean): void {
    if (this.clients.delete(client)) {
      give(client, broken);
    }
  }

  private note(reached: boolean): void {
    if (reached !== this.reached) {
      this.reached = reached;
      this.changedAt = Date.now();
    }
  }

  private late(): Error {
    return new Error(`it did not answer within ${this.timeout} ms`);
  }
}
