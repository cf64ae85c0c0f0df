import type { Broker, BrokerEntry } from '../../broker/broker.js';

/** Options of {@link brokerContract}: how it creates and controls brokers. Only `create` is required. */
export interface BrokerContractSetup {
  /** Returns a new broker. Each case uses new names for its logs, and closes the broker at its end. */
  create(): Broker | Promise<Broker>;
  /**
   * Whether all brokers that `create()` returns use the same store, like the brokers of several processes. Default: `false`, which means that
   * each broker has its own logs.
   */
  readonly shared?: boolean;
  /**
   * Returns a new broker for a store that was restarted, and has lost all records. The earlier brokers are closed before the call. Without
   * this function, the cases for a restart are left out.
   */
  restart?(): Broker | Promise<Broker>;
  /** Deletes a log in the store while brokers are open. Without this function, the cases for such a loss are left out. */
  lose?(log: string): void | Promise<void>;
  /**
   * Closes all connections of a broker to its store, as a failure of the network does. Resolves once they are closed, and does not wait until
   * the broker has connected again, which it must do by itself. Without this function, the cases for a lost connection are left out.
   */
  cut?(broker: Broker): void | Promise<void>;
  /**
   * Makes the store forget the newest `count` records of a log, and closes the connections of all brokers, as a failover to a replica that lags
   * behind does, or a restart from a snapshot. The log itself, with its epoch, must still exist. Without this function, the cases for such a loss
   * are left out.
   */
  rewind?(log: string, count: number): void | Promise<void>;
  /**
   * Makes the store stop to answer, without closing a connection. What it receives until `thaw()` is called may be executed then. Without this
   * function and `thaw`, the cases for such a store are left out.
   */
  freeze?(): void | Promise<void>;
  /** Lets the store answer again. Called after each call of `freeze()`. */
  thaw?(): void | Promise<void>;
  /**
   * Appends an entry without the broker, by the command that its documentation shows to programs in other languages. Without this function, the
   * case for such entries is left out.
   */
  appendRaw?(log: string, entry: BrokerEntry): void | Promise<void>;
  /**
   * Returns how many keys, rows, files or the like the store has. {@link brokerRunsContract} then checks that nothing is left of logs that were dropped or
   * have expired.
   */
  size?(): number | Promise<number>;
  /**
   * How long to wait for an expected result, in milliseconds. It must be longer than the broker takes to connect again, and longer than its own
   * time limit for `append()`. Default: 5000.
   */
  readonly timeout?: number;
  /** How long to wait before a check that something has not happened, in milliseconds. A remote store may need a longer time. Default: 20. */
  readonly settle?: number;
  /** The number of random interleavings to try. Default: 100. */
  readonly runs?: number;
  /** The seed of the random interleavings. Default: another seed in every run. The message of a failure contains the seed. */
  readonly seed?: number;
}

/** One case of the contract, to be run as a test by any test runner. */
export interface ContractCase {
  /** A sentence that says what the broker must do, as the name of the test. */
  readonly name: string;
  /** Runs the case. If the broker breaks the contract, the promise rejects with an `AssertionError`, or with the error that the broker has thrown. */
  run(): Promise<void>;
}
