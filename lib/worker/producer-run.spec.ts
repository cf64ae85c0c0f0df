import { MessageChannel } from 'node:worker_threads';
import { carry } from './carried-error.js';
import { Control } from './control.js';
import { ProducerRun } from './producer-run.js';
import { ringMemory } from './ring.js';

describe('ProducerRun', () => {
  it('ends if the message of an abort arrives before its flag, while the ring is full', async () => {
    const { port1, port2 } = new MessageChannel();
    const control = new Control();
    const ahead = { items: 1_000, bytes: 262_144 };
    const task = { port: port2, control: control.memory, ahead, ring: ringMemory(4_096), data: undefined };
    let left = false;
    const ended = new ProducerRun(task).run(function* (): Generator<string, void> {
      try {
        for (;;) yield 'x'.repeat(1_000);
      } finally {
        left = true;
      }
    });
    while (!control.takeWaiting()) {
      await new Promise((resolve) => setImmediate(resolve));
    }

    port1.postMessage({ abort: carry(new Error('enough')) });
    await ended;
    port1.close();

    expect(left).toBe(true);
  });
});
