import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { message } from '../../fanout/message.mjs';
import { build } from '../../servers/build.mjs';
import { cpu } from '../../usage.mjs';
import { random, takeTurns } from '../turns.mjs';

/** Messages of a slice, so that it takes some milliseconds. */
const MESSAGES = 1_000;

/**
 * A hub without subscribers, with the default options.
 * @param {string} query
 */
async function hub(query) {
  const { getHubToken, StreamingModule } = await build(`${import.meta.url}${query}`);
  class AppModule {}
  Module({ imports: [StreamingModule.forRoot(), StreamingModule.registerHub({ name: 'bench' })] })(AppModule);
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
  return app.get(getHubToken('bench'));
}

/** @param {number} perTurn how many messages are published before the promises of all of them are awaited */
const publishing = (perTurn) => async (/** @type {string} */ query) => {
  const to = await hub(query);
  return async () => {
    for (let i = 0; i < MESSAGES; i += perTurn) {
      const published = [];
      for (let j = 0; j < perTurn; j++) {
        published.push(to.publish(message()));
      }
      await Promise.all(published);
    }
  };
};

/** What any code does for a message. */
let length = 0;
const stringify = async () => async () => {
  for (let i = 0; i < MESSAGES; i++) {
    length += JSON.stringify(message()).length;
  }
};

/** @type {Record<string, (query: string) => Promise<() => Promise<unknown>>>} */
const KINDS = { stringify, one: publishing(1), ten: publishing(10) };

/**
 * `publish()` without subscribers.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 * @param {unknown} _load
 * @param {{ seed: number }} options
 */
export async function create(contestants, _load, { seed }) {
  const next = random(seed);
  /** @type {(() => Promise<unknown>)[]} */
  const all = [];
  for (const {
    server: [, kind],
    variant,
  } of contestants) {
    all.push(await KINDS[kind](variant ? `?${variant}` : ''));
  }

  /** @param {number} contestant */
  const slice = async (contestant) => {
    const before = cpu();
    await all[contestant]();
    return ((cpu().cpu - before.cpu) * 1_000) / MESSAGES;
  };

  /** @param {{ ms: number, fewest: number }} how */
  const measure = async (how) => ({ blocks: await takeTurns(all.length, slice, { ...how, next }), length });

  return { measure };
}
