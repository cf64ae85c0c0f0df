import { randomUUID } from 'node:crypto';
import type { StreamErrorBody } from '../../format/format.js';
import type { RunsOptions } from '../../run/run.options.js';
import type { RunServices } from '../../run/run-services.js';
import { Runs } from '../../run/runs.js';
import { BrokerLink } from './broker-link.js';
import type { ContractContext } from './contract-context.js';
import { type RunsBroker, runClients } from './run-logs.js';

/** Long enough that no lease runs out on a slow machine. */
const LEASE_MS = 20_000;

/** An error that the services of a process have made of a record in the log. */
export class RemoteError extends Error {
  constructor(readonly body: StreamErrorBody) {
    super(String(body.message));
  }
}

/** One of several processes that share runs. */
export class RunProcess {
  /** The warnings that its runs have logged. */
  readonly warnings: string[] = [];

  private constructor(
    readonly link: BrokerLink,
    readonly name: string,
  ) {}

  /** The runs of this process. */
  get runs(): Runs {
    if (!this.opened) {
      throw new Error('Wait for start() before runs is read');
    }
    return this.opened;
  }

  private opened: Runs | undefined;
  private closed: Promise<void> | undefined;

  /** @param delay see {@link BrokerLink} */
  static async start(broker: RunsBroker, options: RunsOptions, delay?: () => Promise<void>): Promise<RunProcess> {
    const link = new BrokerLink(broker, delay);
    const process = new RunProcess(link, options.name);
    const services: RunServices = {
      describeError: (error) =>
        error instanceof RemoteError ? error.body : { statusCode: 500, message: `remote ${String(error)}` },
      errorOf: (body) => new RemoteError(body),
      warn: (message, error) => void process.warnings.push(error === undefined ? message : `${message}: ${error}`),
    };
    process.opened = await Runs.open(
      { lease: LEASE_MS, onDisconnect: 'detach', ...options },
      link,
      services,
      'runsContract()',
    );
    return process;
  }

  /** The process has crashed: it reaches the store no more, and its lease runs out. Ended for good at the end of the case. */
  async die(): Promise<void> {
    this.link.cut();
    await this.loseLease();
  }

  /** Its lease has run out, although it goes on: it was suspended, or cut off from the store. */
  async loseLease(): Promise<void> {
    await this.link.broker.drop(this.lease);
  }

  async regainLease(): Promise<void> {
    await this.link.broker.create(this.lease, [{ encoding: 'json', data: '{"life":0}' }], LEASE_MS);
  }

  /** The name of the log that is its lease. */
  get lease(): string {
    return `~runs/${this.name}/node-${this.runs.processId}`;
  }

  /** Ends it. A second call returns the same promise. */
  close(): Promise<void> {
    this.closed ??= this.runs.close().catch(() => undefined);
    return this.closed;
  }
}

/** Two processes that share runs. */
export interface RunProcesses {
  readonly a: RunProcess;
  readonly b: RunProcess;
  /** The client of the first process, for faults of the store. */
  readonly store: RunsBroker;
}

/** Starts two processes. They are ended after the case. */
export async function runProcesses(
  context: ContractContext,
  options: Partial<RunsOptions> = {},
  delay?: () => Promise<void>,
): Promise<RunProcesses> {
  const { one, two } = await runClients(context);
  const named = { name: `contract-${randomUUID()}`, ...options };
  const a = await RunProcess.start(one, named, delay);
  context.closeAtEnd(a);
  const b = await RunProcess.start(two, named, delay);
  context.closeAtEnd(b);
  return { a, b, store: one };
}
