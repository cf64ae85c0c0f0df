import { checkedTimeout } from '../client/checked-timeout.js';
import { appendCases } from './append.cases.js';
import { connectionCases } from './connection.cases.js';
import { type Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup, ContractCase } from './contract-setup.js';
import { epochCases } from './epoch.cases.js';
import { freezeCases } from './freeze.cases.js';
import { GAP_CASES } from './gap.cases.js';
import { HUB_CASES } from './hub.cases.js';
import { hubFaultCases } from './hub-faults.cases.js';
import { INTERLEAVING_CASES } from './interleaving.cases.js';
import { onceCases } from './once.cases.js';
import { READ_CASES } from './read.cases.js';
import { RETENTION_CASES } from './retention.cases.js';
import { rewindCases } from './rewind.cases.js';
import { ROSTER_CASES } from './roster.cases.js';
import { RUN_END_CASES } from './run-end.cases.js';
import { runFaultCases } from './run-faults.cases.js';
import { RUN_INTERLEAVING_CASES } from './run-interleaving.cases.js';
import { RUN_LOG_CASES } from './run-log.cases.js';
import { RUN_MOMENT_CASES } from './run-moments.cases.js';
import { RUN_STATE_CASES } from './run-state.cases.js';
import { runStoreCases } from './run-store.cases.js';
import { RUN_TAIL_CASES } from './run-tail.cases.js';
import { RUN_VIEW_CASES } from './run-view.cases.js';
import { TAIL_CASES } from './tail.cases.js';
import { topicFaultCases } from './topic-faults.cases.js';
import { TOPIC_HUB_CASES } from './topic-hub.cases.js';
import { TOPIC_READ_CASES } from './topic-read.cases.js';
import { TOPIC_TAIL_CASES } from './topic-tail.cases.js';

/**
 * Returns the contract of a broker as test cases for any test runner. With a broker that passes all of them, hubs keep all their
 * guarantees. The package `fast-check` must be installed.
 *
 * The cases may run in any order, and concurrently if `setup` has neither `freeze` nor `rewind`, which concern the whole store. The last case tries many interleavings, and needs a longer timeout than the others.
 *
 * @throws a `StreamError` with the code `invalid-option` if `timeout` or `settle` is not a duration in milliseconds
 *
 * @example
 * ```ts
 * const contract = brokerContract({ create: () => new MyBroker(url), shared: true });
 *
 * // Jest
 * it.each(contract.map((each) => [each.name, each.run] as const))('%s', (_, run) => run(), 60_000);
 *
 * // Vitest
 * it.for(contract)('$name', { timeout: 60_000 }, ({ run }) => run());
 *
 * // node:test
 * for (const { name, run } of contract) test(name, run);
 * ```
 */
export function brokerContract(setup: BrokerContractSetup): ContractCase[] {
  return contractOf(setup, [
    ...appendCases(setup),
    ...TAIL_CASES,
    ...READ_CASES,
    ...RETENTION_CASES,
    ...onceCases(setup),
    ...epochCases(setup),
    ...connectionCases(setup),
    ...rewindCases(setup),
    ...freezeCases(setup),
    ...HUB_CASES,
    ...hubFaultCases(setup),
    ...GAP_CASES,
    ...ROSTER_CASES,
    ...INTERLEAVING_CASES,
  ]);
}

/**
 * Returns the contract of `BrokerRuns` as test cases for any test runner, for a broker that can have runs. They come in addition to those of
 * {@link brokerContract}, with the same setup. The cases may run in any order, and concurrently if `setup` has neither `freeze`, `rewind` nor `size`.
 *
 * @throws a `StreamError` with the code `invalid-option` if `timeout` or `settle` is not a duration in milliseconds
 *
 * @example
 * ```ts
 * const setup = { create: () => new MyBroker(url), shared: true };
 *
 * for (const { name, run } of [...brokerContract(setup), ...brokerRunsContract(setup)]) {
 *   it(name, run, 60_000);
 * }
 * ```
 */
export function brokerRunsContract(setup: BrokerContractSetup): ContractCase[] {
  return contractOf(setup, [...RUN_LOG_CASES, ...RUN_TAIL_CASES, ...runFaultCases(setup)]);
}

/**
 * Returns the contract of `BrokerTopics` as test cases for any test runner, for a broker that can keep a history for each topic. They come in addition to
 * those of {@link brokerContract}, with the same setup. The package `fast-check` must be installed. The cases may run in any order, and concurrently if
 * `setup` has neither `freeze` nor `rewind`. The last case tries many interleavings, and needs a longer timeout than the others.
 *
 * @throws a `StreamError` with the code `invalid-option` if `timeout` or `settle` is not a duration in milliseconds
 *
 * @example
 * ```ts
 * for (const { name, run } of brokerTopicsContract({ create: () => new MyBroker(url), shared: true })) {
 *   it(name, run, 60_000);
 * }
 * ```
 */
export function brokerTopicsContract(setup: BrokerContractSetup): ContractCase[] {
  return contractOf(setup, [...TOPIC_TAIL_CASES, ...TOPIC_READ_CASES, ...topicFaultCases(setup), ...TOPIC_HUB_CASES]);
}

/**
 * Returns the contract of runs as test cases for any test runner: what `Runs` promises, on two processes that share the store. They come in addition to those of
 * {@link brokerRunsContract}, which test the methods of the broker alone, with the same setup. The package `fast-check` must be installed.
 *
 * The cases may run in any order, and concurrently if `setup` has none of `freeze`, `rewind` and `size`. The last case tries many interleavings, and needs a longer timeout than the others.
 *
 * @throws a `StreamError` with the code `invalid-option` if `timeout` or `settle` is not a duration in milliseconds
 *
 * @example
 * ```ts
 * for (const { name, run } of runsContract({ create: () => new MyBroker(url), shared: true })) {
 *   it(name, run, 60_000);
 * }
 * ```
 */
export function runsContract(setup: BrokerContractSetup): ContractCase[] {
  return contractOf(setup, [
    ...RUN_VIEW_CASES,
    ...RUN_END_CASES,
    ...RUN_STATE_CASES,
    ...RUN_MOMENT_CASES,
    ...runStoreCases(setup),
    ...RUN_INTERLEAVING_CASES,
  ]);
}

function contractOf(setup: BrokerContractSetup, cases: readonly Case[]): ContractCase[] {
  for (const name of ['timeout', 'settle'] as const) {
    checkedTimeout(setup[name] ?? 0, name);
  }
  return cases.map(([name, run]) => ({
    name,
    run: async () => {
      const context = new ContractContext(setup);
      try {
        await run(context);
      } finally {
        await context.end();
      }
    },
  }));
}
