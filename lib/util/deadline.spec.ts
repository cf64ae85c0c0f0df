import { Deadline } from './deadline.js';

/** Longer than a late timer is allowed to be. */
const LONG_MS = 300;

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

describe('A deadline', () => {
  it('that has passed while the process was busy waits until what has arrived is handled', async () => {
    const order: string[] = [];
    const passed = new Promise<void>((resolve) => {
      new Deadline(() => {
        order.push('deadline');
        resolve();
      }).start(1);
    });
    setTimeout(() => setImmediate(() => order.push('answer')), 1);
    block(LONG_MS);
    await passed;

    expect(order).toEqual(['answer', 'deadline']);
  });

  it('is not started again while it runs, and calls nothing after it was cleared', async () => {
    let calls = 0;
    const deadline = new Deadline(() => {
      calls++;
    });
    deadline.start(1);
    deadline.start(60_000);
    while (calls === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    deadline.start(1);
    deadline.clear();
    await new Promise((resolve) => setTimeout(resolve, 20));

    expect(calls).toBe(1);
  });
});
