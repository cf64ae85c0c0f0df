import type { MessagePort } from 'node:worker_threads';
import { Control } from './control.js';
import { DOORBELL } from './messages.js';
import { FrameKind, RingReader, ringMemory } from './ring.js';
import { RingOutbox } from './ring-outbox.js';

const CAPACITY = 256;
/** Eight of its frames take half of the ring. */
const CHUNK = '0123456789ab';
const LIMITS = { items: 1_000, bytes: 1_000_000 };

/** An outbox whose reader has found the ring empty, and waits. */
function outbox() {
  const memory = ringMemory(CAPACITY);
  const messages: unknown[] = [];
  const port = { postMessage: (message: unknown) => messages.push(message) } as Pick<MessagePort, 'postMessage'>;
  const out = new RingOutbox(port as MessagePort, new Control(), LIMITS, memory);
  const reader = new RingReader(memory, () => undefined);
  const readAll = () => {
    const chunks: unknown[] = [];
    while (reader.next() !== FrameKind.none) {
      chunks.push(reader.chunk);
    }
    return chunks;
  };
  readAll();
  const push = (count: number) => {
    for (let n = 0; n < count; n++) {
      out.push(CHUNK);
    }
  };
  return { out, messages, push, readAll };
}

describe('what a producer writes into a ring', () => {
  it('wakes a reader that waits once for many chunks, when it is flushed', () => {
    const { out, messages, push, readAll } = outbox();
    push(8);
    expect(messages).toEqual([]);
    expect(out.isFlushed).toBe(false);

    out.flush();

    expect(messages).toEqual([DOORBELL]);
    expect(out.isFlushed).toBe(true);
    expect(readAll()).toHaveLength(8);
  });

  it('wakes the reader without a flush when more than half of the ring is used', () => {
    const { messages, push } = outbox();
    push(9);

    expect(messages).toEqual([DOORBELL]);
  });

  it('is crowded only by what the reader has not read', () => {
    const { messages, push, readAll } = outbox();
    for (let n = 0; n < 10; n++) {
      push(7);
      expect(readAll()).toHaveLength(7);
    }

    expect(messages).toEqual([]);
  });

  it('wakes nobody while the reader reads, which finds it by itself', () => {
    const { out, messages, push, readAll } = outbox();
    push(1);
    out.flush();
    push(12);
    out.flush();

    expect(messages).toEqual([DOORBELL]);
    expect(readAll()).toHaveLength(13);
  });

  it('wakes the reader for a chunk that waited for room, although nothing follows it', () => {
    const { out, messages, push, readAll } = outbox();
    push(17);
    expect(out.hasRoom).toBe(false);
    expect(messages).toEqual([DOORBELL]);
    expect(readAll()).toHaveLength(16);

    expect(out.hasRoom).toBe(true);

    expect(messages).toEqual([DOORBELL, DOORBELL]);
    expect(readAll()).toEqual([CHUNK]);
  });
});
