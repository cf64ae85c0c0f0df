import { instanceToPlain } from 'class-transformer';
import { flush, isFlushMark } from './flush.js';

describe('flush()', () => {
  it('returns a mark that no chunk is taken for', () => {
    expect(isFlushMark(flush())).toBe(true);
    expect(isFlushMark({ flush: true })).toBe(false);
    expect(isFlushMark(Symbol('nestjs-streaming:flush'))).toBe(false);
    expect(isFlushMark(undefined)).toBe(false);
    expect(isFlushMark('flush')).toBe(false);
  });

  it('returns the same mark every time, which what copies objects does not copy', () => {
    expect(flush()).toBe(flush());
    expect(isFlushMark(instanceToPlain(flush()))).toBe(true);
  });
});
