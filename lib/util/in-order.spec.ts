import { InOrder } from './in-order.js';

describe('A function that is kept in order', () => {
  it('runs at once if no promise is pending', () => {
    expect(new InOrder().behind(() => 'now')).toBe('now');
  });

  it('runs after all pending promises, also if one of them rejects', async () => {
    const order = new InOrder();
    const ran: string[] = [];
    order.hold(Promise.reject(new Error('first')));
    order.hold(order.behind(async () => void ran.push('second')) as Promise<void>);
    order.hold(order.behind(async () => void ran.push('third')) as Promise<void>);
    expect([ran, order.waiting]).toEqual([[], 3]);

    await order.tail;

    expect([ran, order.waiting, order.tail]).toEqual([['second', 'third'], 0, undefined]);
  });
});
