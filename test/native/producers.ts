import { createRequire } from 'node:module';
import { buildAddon, type Sanitizer } from '../support/node-gyp.js';

/** The producer's end of a stream. */
export type ProducerEnd = object;

/** What all floods of the process have seen. */
export interface Figures {
  readonly taken: number;
  /** How often `ns_send_chunk()` has returned 0. */
  readonly full: number;
  /** How many threads are in `ns_wait_room()` now. */
  readonly waiting: number;
  /** How many threads have got -1. */
  readonly gone: number;
  readonly running: number;
}

/** The functions of the header, called from JavaScript or from threads: `addon/producers.c`. */
export interface Producers {
  open(ringBytes?: number): { readonly handle: object; readonly stream: ProducerEnd };
  send(stream: ProducerEnd, chunk: Buffer): number;
  sendTooMuch(stream: ProducerEnd): number;
  waitRoom(stream: ProducerEnd, ms: number): number;
  isCancelled(stream: ProducerEnd): number;
  close(stream: ProducerEnd, error?: string): void;
  /** Starts threads, each of which sends chunks `<thread>:<number>:xxx…`. The last one closes the stream. */
  flood(stream: ProducerEnd, threads: number, chunks: number, size: number): void;
  figures(): number[];
}

export function buildProducers(sanitizer?: Sanitizer): Promise<string> {
  return buildAddon('test/native/addon', 'producers', sanitizer);
}

export async function loadProducers(): Promise<Producers> {
  return createRequire(import.meta.url)(await buildProducers()) as Producers;
}

export function figuresOf(producers: Producers): Figures {
  const [taken = 0, full = 0, waiting = 0, gone = 0, running = 0] = producers.figures();
  return { taken, full, waiting, gone, running };
}

/** The time that the first build of an addon may take on a busy machine. */
export const BUILD_MS = 120_000;
