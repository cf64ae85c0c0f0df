import type { Broker } from '../../broker/broker.js';

/** How {@link brokerContract} makes and controls brokers. Only `create` is required. */
export interface BrokerContractSetup {
  /** Makes a broker. Its logs get names that were never used before. The broker is closed after the case. */
  create(): Broker | Promise<Broker>;
  /**
   * Whether all brokers that `create()` makes are clients of one store, like the brokers of several processes. Default: `false`: each
   * broker has logs of its own.
   */
  readonly shared?: boolean;
  /**
   * Makes a broker of a store that was restarted and lost all records. The earlier brokers are closed before. Without it, the cases of
   * a restart are left out.
   */
  restart?(): Broker | Promise<Broker>;
  /** Deletes a log in the store while brokers are open. Without it, the cases of such a loss are left out. */
  lose?(log: string): void | Promise<void>;
  /** How long to wait for an expected result, in milliseconds. Default: 5000. */
  readonly timeout?: number;
  /** How long to wait before it is checked that something did not happen, in milliseconds. Default: 20; a remote store may need more. */
  readonly settle?: number;
  /** The number of random interleavings to try. Default: 100. */
  readonly runs?: number;
  /** The seed of the random interleavings. Default: another seed in every run. The message of a failure contains the seed. */
  readonly seed?: number;
}

/** One case of a contract, to be run as a test by any test runner. */
export interface ContractCase {
  readonly name: string;
  /** Rejects with an `AssertionError`, or with the error that the broker threw, when the broker breaks the contract. */
  run(): Promise<void>;
}
