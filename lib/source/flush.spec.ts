import { instanceToPlain } from 'class-transformer';
import { flush, isFlushMark } from './flush.js';

describe('flush()', () => {
  it('returns a mark that differs from every chunk', () => {
    expect(isFlushMark(flush())).toBe(true);
    expect(isFlushMark({ flush: true })).toBe(false);
    expect(isFlushMark(Symbol('nestjs-streaming:flush'))).toBe(false);
    expect(isFlushMark(undefined)).toBe(false);
    expect(isFlushMark('flush')).toBe(false);
  });

  it('returns the same mark every time, which is still a mark after objects are copied', () => {
    expect(flush()).toBe(flush());
    expect(isFlushMark(instanceToPlain(flush()))).toBe(true);
  });
});
