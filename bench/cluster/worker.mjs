import { message, now } from '../fanout/message.mjs';
import { profiled } from '../fanout/profile.mjs';
import { quantile } from '../statistics.mjs';
import { cpu } from '../usage.mjs';

/** A process of one contestant: it appends to a log, or listens to it. */

/**
 * @typedef {object} Contestant
 * @property {(message: { at: number, text: string }, topic?: string) => Promise<unknown>} append resolves when Redis has the event
 * @property {(onText: (json: string) => void, onMessage: (message: any) => void) => unknown} listen calls one of the two for each event from now on
 * @property {() => unknown} end
 */

/** How often the pacemaker looks whether an event is due. */
const TICK_MS = 1;
/** Events that have not arrived after this silence are missing. */
const PATIENCE_MS = 3_000;
const CHECK_MS = 5;
/** A prime number, so that neighbouring events have topics far from each other. */
const STRIDE = 7_919;

const [file, name, url, log, history = '{}'] = process.argv.slice(2);
const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

process.on('disconnect', () => process.exit());

const { [name]: create } = await import(`./contestants/${file}.mjs`);
/** Whether the contestant can be created is the answer to the first question. @type {Contestant} */
const contestant = await Promise.resolve(create(url, log, JSON.parse(history))).catch((error) => {
  process.send?.({ error: String(error) }, () => process.exit(1));
  return new Promise(() => undefined);
});

/** How long each event took to arrive, in microseconds. @type {number[]} */
let heard = [];
let lastAt = 0;

/** @param {{ at: number }} message */
function onMessage({ at }) {
  lastAt = now();
  heard.push(lastAt - at);
}

/**
 * Appends a number of events, or as many as it can in some time. A number of them is on its way at any time.
 * @param {{ count?: number, ms?: number, inFlight: number, profile?: string }} how
 */
async function append({ count = Number.POSITIVE_INFINITY, ms = Number.POSITIVE_INFINITY, inFlight, profile }) {
  let begun = 0;
  const end = performance.now() + ms;
  const some = async () => {
    while (begun < count && performance.now() < end) {
      begun++;
      await contestant.append(message());
    }
  };
  const { cpu: before } = cpu();
  const began = now();
  await profiled(profile, () => Promise.all(Array.from({ length: inFlight }, some)));
  return { cpu: cpu().cpu - before, us: now() - began, count: begun };
}

/**
 * Appends at a rate, without waiting for the answers; to one topic, or to one of several after the other, in no order.
 * @param {{ perSecond: number, ms: number, topics?: number }} how
 */
async function publish({ perSecond, ms, topics }) {
  const due = Math.round((perSecond * ms) / 1_000);
  /** @type {number[]} */
  const answered = [];
  const began = performance.now();
  const { cpu: before } = cpu();
  /** @type {Promise<unknown>[]} */
  const all = [];
  for (let count = 0; count < due; ) {
    const now_ = Math.min(due, Math.ceil(((performance.now() - began) * perSecond) / 1_000));
    for (; count < now_; count++) {
      const each = message();
      const topic = topics && `topic ${(count * STRIDE) % topics}`;
      all.push(contestant.append(each, topic).then(() => answered.push(now() - each.at)));
    }
    await later(TICK_MS);
  }
  await Promise.all(all);
  return { count: due, cpu: cpu().cpu - before, p50: quantile(answered, 0.5), p99: quantile(answered, 0.99) };
}

/** Starts to listen. */
async function listen() {
  await contestant.listen((json) => onMessage(JSON.parse(json)), onMessage);
}

/**
 * Waits for a number of events, and returns how long they took.
 * @param {{ count: number }} how
 */
async function arrived({ count }) {
  const began = now();
  while (heard.length < count && now() - Math.max(lastAt, began) < PATIENCE_MS * 1_000) {
    await later(CHECK_MS);
  }
  const all = heard;
  heard = [];
  return { count: all.length, p50: quantile(all, 0.5), p99: quantile(all, 0.99) };
}

/**
 * Calls a method of the contestant, and measures it.
 * @param {{ method: string, args: unknown[] }} what
 */
async function call({ method, args }) {
  const { cpu: before } = cpu();
  const began = now();
  const answer = await /** @type {any} */ (contestant)[method](...args);
  return { ...answer, cpu: cpu().cpu - before, us: now() - began };
}

/** @type {Record<string, (question: any) => unknown>} */
const ANSWERS = { cpu, append, publish, listen, arrived, call, pause: ({ ms }) => later(ms) };
process.on('message', async (/** @type {{ ask: string }} */ { ask, ...question }) => {
  try {
    process.send?.({ .../** @type {object} */ (await ANSWERS[ask](question)) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({ ready: true });
