import { InOrder } from './in-order.js';

describe('What is kept in order', () => {
  it('runs at once where nothing is pending', () => {
    expect(new InOrder().behind(() => 'now')).toBe('now');
  });

  it('runs behind all that is pending, also where that is rejected', async () => {
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
