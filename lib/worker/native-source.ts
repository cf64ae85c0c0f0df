import { type PullSource } from '../source/source.js';
import { DONE, type Step } from '../util/iteration.js';
import { type NativeHandle } from './native-handle.js';
import { Utf8Halves } from './utf8-halves.js';

type Chunk = string | Uint8Array;

const MAX_CHUNKS = 512;
/** Receives the number of chunks of a batch, and their ends. All streams share it, since it is read immediately. */
const ends = new Uint32Array(MAX_CHUNKS + 1);
const NONE: readonly Chunk[] = [];

/** Reads the ring of a stream that a thread of an addon fills. It is not read before the client has room. */
export class NativeSource implements PullSource {
  readonly kind = 'pull';
  private chunks: readonly Chunk[] = NONE;
  private next = 0;
  private waiter: { resolve(step: Step): void; reject(error: unknown): void } | undefined;
  private outcome: { readonly error?: unknown } | undefined;

  constructor(
    private readonly handle: NativeHandle,
    /** Decodes text. `undefined`: the chunks are bytes. */
    private readonly decoder: Utf8Halves | undefined,
  ) {
    handle.onReady = () => this.onReady();
  }

  pull(): Step | Promise<Step> {
    return (
      this.step() ??
      new Promise<Step>((resolve, reject) => {
        this.waiter = { resolve, reject };
      })
    );
  }

  stop(): void {
    this.handle.cancel();
    this.chunks = NONE;
    this.next = 0;
    this.outcome = {};
    this.waiter?.resolve(DONE);
    this.waiter = undefined;
  }

  /** Returns the next step, or `undefined` if there is none yet. */
  private step(): Step | undefined {
    while (this.next === this.chunks.length) {
      if (this.outcome) {
        return this.end(this.outcome);
      }
      if (!this.fill()) {
        return undefined;
      }
    }
    return { done: false, value: this.chunks[this.next++] };
  }

  private end({ error }: { readonly error?: unknown }): Step {
    // An iterator that has failed has ended.
    this.outcome = {};
    if (error !== undefined) {
      throw error;
    }
    return DONE;
  }

  /** Takes a batch out of the ring, or notes the end. Returns whether there was either. */
  private fill(): boolean {
    let batch: string | Buffer | null | undefined;
    try {
      batch = this.handle.take(ends, this.decoder?.pending === false);
    } catch (error) {
      // If the chunks cannot be taken, threads may still send, or wait for room.
      this.handle.cancel();
      this.outcome = { error };
    }
    if (batch === null) {
      return false;
    }
    this.next = 0;
    this.chunks = batch === undefined ? this.lastChunks() : this.split(batch);
    return true;
  }

  private lastChunks(): readonly Chunk[] {
    this.outcome ??= {};
    const rest = this.decoder?.end();
    return rest === undefined ? NONE : [rest];
  }

  private split(batch: string | Buffer): readonly Chunk[] {
    const count = ends[0] ?? 0;
    if (typeof batch === 'string') {
      return count === 1 ? [batch] : pieces(count, (start, end) => batch.slice(start, end));
    }
    const bytes = count === 1 ? [batch] : pieces(count, (start, end) => batch.subarray(start, end));
    const { decoder } = this;
    return decoder ? bytes.map((chunk) => decoder.write(chunk)).filter((chunk) => chunk !== undefined) : bytes;
  }

  private onReady(): void {
    const { waiter } = this;
    if (!waiter) {
      return;
    }
    try {
      const step = this.step();
      if (step) {
        this.waiter = undefined;
        waiter.resolve(step);
      }
    } catch (error) {
      this.waiter = undefined;
      waiter.reject(error);
    }
  }
}

function pieces<T>(count: number, piece: (start: number, end: number) => T): T[] {
  const list: T[] = [];
  let start = 0;
  for (let index = 1; index <= count; index++) {
    const end = ends[index] ?? 0;
    list.push(piece(start, end));
    start = end;
  }
  return list;
}
