import { flush, isFlushMark } from './flush.js';

describe('flush()', () => {
  it('is told from every chunk, even from one that looks like it', () => {
    expect(isFlushMark(flush())).toBe(true);
    expect(isFlushMark({ flush: true })).toBe(false);
    expect(isFlushMark({ ...flush() })).toBe(false);
    expect(isFlushMark(undefined)).toBe(false);
    expect(isFlushMark('flush')).toBe(false);
  });

  it('costs nothing, and cannot be changed', () => {
    expect(flush()).toBe(flush());
    expect(Object.isFrozen(flush())).toBe(true);
  });
});
