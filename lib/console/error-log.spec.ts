import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ErrorLog } from './error-log.js';

const MB = 1_000_000;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

describe('The errors that the console keeps', () => {
  it('do not keep long messages in memory, of which they show only the beginning', () => {
    const log = new ErrorLog();
    collectGarbage();
    const before = process.memoryUsage().heapUsed;

    for (let i = 0; i < 20; i++) {
      log.add('Feed.all', new Error(`${i}${Buffer.alloc(2 * MB, 'x').toString('latin1')}`));
    }

    collectGarbage();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(10 * MB);
    expect(log.newest()).toHaveLength(20);
    expect(log.newest()[0]?.message).toBe(`19${'x'.repeat(158)}…`);
  });
});
