import type { Broker } from '../../broker/broker.js';

/** What {@link brokerContract} has to know of a broker. Only `create` is needed. */
export interface BrokerContractSetup {
  /** Makes a broker. The logs it is asked for have names that nobody has used before; it is closed after the case. */
  create(): Broker | Promise<Broker>;
  /**
   * Whether brokers of `create()` are clients of one store, as those of several processes are. Default: `false`; each has logs of
   * its own.
   */
  readonly shared?: boolean;
  /**
   * Makes a broker as after a restart that has cost the store everything; those there were are closed. Without it, there are
   * no cases of that.
   */
  restart?(): Broker | Promise<Broker>;
  /** Has the store lose a log while brokers are open. Without it, there are no cases of that. */
  lose?(log: string): void | Promise<void>;
  /** How long what has to happen may take, in milliseconds. Default: 5000. */
  readonly timeout?: number;
  /** How long is waited for what must not happen, in milliseconds. Default: 20, which a remote store may need more of. */
  readonly settle?: number;
  /** How many interleavings are tried. Default: 100. */
  readonly runs?: number;
  /** Which: the same for the same number. Default: others every time; a failure says its seed. */
  readonly seed?: number;
}

/** One case of a contract: a test of any runner. */
export interface ContractCase {
  readonly name: string;
  /** Rejects with an `AssertionError`, or with what the broker threw, when the contract is not kept. */
  run(): Promise<void>;
}
