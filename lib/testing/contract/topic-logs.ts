import assert from 'node:assert/strict';
import type { Broker, BrokerEntry, BrokerPosition } from '../../broker/broker.js';
import { type BrokerTopics, hasTopics, type TopicPage, type TopicRetention } from '../../broker/broker-topics.js';
import type { ContractContext } from './contract-context.js';
import { range } from './entries.js';

export type TopicBroker = Broker & BrokerTopics;

export const KEEP_TOPICS: TopicRetention = { limit: 10_000, ttl: 3_600_000, all: false };

/** Returns the n-th entry of a topic. */
export function topicEntry(topic: string, n: number): BrokerEntry & { readonly topic: string } {
  return { data: `{"n":${n}}`, encoding: 'json', topic };
}

/** Creates a broker that has a history for each topic. */
export async function topicBroker(context: ContractContext): Promise<TopicBroker> {
  return requireTopics(await context.broker());
}

export function requireTopics(broker: Broker): TopicBroker {
  assert.ok(hasTopics(broker), 'The broker must have the methods of BrokerTopics');
  return broker;
}

/** Returns `count` clients of one log, as `context.clients()` does. */
export async function topicClients(
  context: ContractContext,
  count: number,
  retention: Partial<TopicRetention> = {},
): Promise<{ readonly clients: readonly TopicBroker[]; readonly log: string }> {
  const first = await topicBroker(context);
  const log = context.newLog();
  const clients = [first];
  while (clients.length < count) {
    clients.push(requireTopics(await context.another(first)));
  }
  for (const client of new Set(clients)) {
    await client.openTopics(log, { ...KEEP_TOPICS, ...retention });
  }
  return { clients, log };
}

/** Appends the entries of a topic from `first` to `last`, one after the other. Resolves to their positions. */
export async function appendTopic(
  broker: Broker,
  log: string,
  topic: string,
  first: number,
  last: number,
): Promise<BrokerPosition[]> {
  const positions: BrokerPosition[] = [];
  for (const n of range(first, last)) {
    positions.push(await broker.append(log, topicEntry(topic, n)));
  }
  return positions;
}

/** Returns the data of the records that a page has for its first request. */
export function dataOf({ topics }: TopicPage): readonly string[] {
  return topics[0]?.records.map(({ data }) => data) ?? [];
}

/** Returns the data of the entries of a topic from `first` to `last`. */
export function dataFrom(first: number, last: number): string[] {
  return range(first, last).map((n) => topicEntry('', n).data);
}

export function offsetsOf(records: readonly BrokerPosition[]): number[] {
  return records.map(({ offset }) => offset);
}
