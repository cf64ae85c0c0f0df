import { type Broker, broker } from '../broker/broker.js';
import { type BrokerTopics, hasTopics } from '../broker/broker-topics.js';
import { type Check, callable, count, demand, finite, flag, keys, oneOf, queueLimits, size } from '../util/checks.js';
import { StreamError } from '../util/errors.js';
import type { HubOptions, PublishOptions, SubscribeOptions } from './hub.options.js';
import { CONTROL } from './topic.js';

const LONGEST_NAME = 128;
const LONGEST_ONCE = 256;

const BEHAVIOR = {
  overflow: oneOf('disconnect', 'drop-oldest', 'drop-newest', 'latest'),
  queue: queueLimits(size),
};

const HUB = keys<HubOptions>({
  name: (value) =>
    typeof value === 'string' && value !== '' && value.length <= LONGEST_NAME && !CONTROL.test(value)
      ? value.startsWith('~')
        ? 'must not begin with "~": such logs belong to this package'
        : undefined
      : 'must be 1 to 128 characters without control characters',
  history: (value) =>
    value === false
      ? undefined
      : keys<Exclude<HubOptions['history'], false | undefined>>({
          per: oneOf('log', 'topic'),
          limit: count,
          ttl: finite,
        })(value),
  all: flag,
  ...BEHAVIOR,
  broker,
  role: oneOf('publisher'),
});

const text: Check = (value) => (typeof value === 'string' ? undefined : 'must be a string');

const SUBSCRIBE = keys<SubscribeOptions>({
  ...BEHAVIOR,
  // The topic is checked where it is used, since its error has another code.
  topic: () => undefined,
  after: () => undefined,
  last: (value) => (value === Infinity || value === 0 ? undefined : count(value)),
  filter: callable,
  member: keys<NonNullable<SubscribeOptions['member']>>({ id: () => undefined, info: () => undefined }),
  signal: (value) => (value instanceof AbortSignal ? undefined : 'must be an AbortSignal'),
});

const PUBLISH = keys<PublishOptions>({
  topic: () => undefined,
  type: () => undefined,
  key: () => undefined,
  once: (value) =>
    typeof value === 'string' && value !== '' && value.length <= LONGEST_ONCE
      ? undefined
      : `must be 1 to ${LONGEST_ONCE} characters`,
});

export function checkHubOptions(options: unknown): void {
  const name = (options as { readonly name?: unknown } | undefined)?.name;
  const where = 'StreamingModule.registerHub()';
  demand(HUB, options, name === undefined ? where : `${where} of ${JSON.stringify(name)}`);
  // The name is the only required option.
  demand(keys({ name: text }, true), { name }, where);
  const { role, overflow, queue, history, all } = options as HubOptions;
  if (all !== undefined && (history === false || history?.per !== 'topic')) {
    throw new StreamError(
      'invalid-option',
      `${where} of ${JSON.stringify(name)}: "all" is an option of hubs with history: { per: 'topic' }. Every other hub has subscribers of all topics: leave it out`,
    );
  }
  if (role === 'publisher' && (overflow !== undefined || queue !== undefined)) {
    throw new StreamError(
      'invalid-option',
      `${where} of ${JSON.stringify(name)}: "overflow" and "queue" are options of subscribers, which a hub with the role "publisher" has not: leave them out`,
    );
  }
}

export function checkSubscribeOptions(hub: string, options: { readonly after?: unknown }): void {
  demand(SUBSCRIBE, options, `subscribe() to the hub "${hub}"`);
  if (options.after !== undefined && typeof options.after !== 'string') {
    // The value often comes from a client, as in `?after=a&after=b`.
    throw new StreamError('invalid-id', `"after" is one id, not ${JSON.stringify(options.after)}`, {
      statusCode: 400,
    });
  }
}

export function checkPublishOptions(hub: string, options: PublishOptions, { onceWindow }: Broker): void {
  demand(PUBLISH, options, `publish() to the hub "${hub}"`);
  if (options.once !== undefined && onceWindow === undefined) {
    throw new StreamError(
      'invalid-option',
      `publish() to the hub "${hub}": its broker has no "onceWindow", so it cannot publish an event "once"`,
    );
  }
}

/** Returns whether a hub has a history for each topic. */
export function hasHistoryPerTopic({ history }: HubOptions): boolean {
  return history !== undefined && history !== false && history.per === 'topic';
}

/** @throws {StreamError} `invalid-option` if a broker cannot keep a history for each topic */
export function requireTopics(hub: string, broker: Broker): Broker & BrokerTopics {
  if (!hasTopics(broker)) {
    throw new StreamError(
      'invalid-option',
      `The hub "${hub}" has history: { per: 'topic' }, and its broker, ${broker.constructor.name}, lacks the methods of BrokerTopics: use another broker, or leave "per" out`,
    );
  }
  return broker;
}
