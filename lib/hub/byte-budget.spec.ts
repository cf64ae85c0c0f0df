import { ByteBudget, type Evictable } from './byte-budget.js';

function setup(limit: number) {
  const budget = new ByteBudget(limit);
  const evicted: string[] = [];
  return {
    budget,
    evicted,
    item: (name: string, cost: number): Evictable & { cost: number } => ({
      cost,
      evict: () => void evicted.push(name),
    }),
  };
}

describe('A budget of bytes', () => {
  it('evicts the least recently used items, and no more of them than necessary', () => {
    const { budget, evicted, item } = setup(10);
    const [a, b, c] = [item('a', 4), item('b', 4), item('c', 2)];
    for (const each of [a, b, c, a]) {
      budget.use(each);
    }

    budget.use(item('d', 3));

    expect(evicted).toEqual(['b']);
  });

  it('keeps an item that is larger than the whole budget until the next item is added', () => {
    const { budget, evicted, item } = setup(10);
    budget.use(item('large', 100));
    expect(evicted).toEqual([]);

    budget.use(item('next', 1));

    expect(evicted).toEqual(['large']);
  });

  it('counts an item again after it has grown, and stops counting it when it is released', () => {
    const { budget, evicted, item } = setup(10);
    const growing = item('growing', 1);
    budget.use(item('first', 5));
    budget.use(growing);
    growing.cost = 6;
    budget.use(growing);
    expect(evicted).toEqual(['first']);

    budget.release(growing);
    budget.use(item('last', 10));

    expect(evicted).toEqual(['first']);
  });
});
