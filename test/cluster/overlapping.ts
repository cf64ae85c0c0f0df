import { itWith, toolPath } from '../support/tools.js';

export interface OverlappingTest {
  readonly name: string;
  run(): Promise<void>;
}

/** How many run at the same time. */
const AT_ONCE = 6;
const LONGEST_MS = 400_000;
/** Runs only the tests whose names match it. The option -t of Jest chooses only which results are shown. */
const { ONLY = '' } = process.env;

/**
 * Tests with servers that last for many seconds, in which little is done. They run at the same time, before the first of them is reported. Not with
 * it.concurrent: when one of those tests ends, Jest forbids the others to import modules.
 */
export function overlapping(tool: string, tests: readonly OverlappingTest[]): void {
  const results = new Map<string, Promise<void>>();
  const chosen = tests.filter(({ name }) => new RegExp(ONLY).test(name));

  beforeAll(async () => {
    const waiting = toolPath(tool) === undefined ? [] : [...chosen];
    const work = async (): Promise<void> => {
      for (let test = waiting.shift(); test; test = waiting.shift()) {
        const result = test.run();
        results.set(test.name, result);
        await result.catch(() => undefined);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }, LONGEST_MS);

  for (const { name } of chosen) {
    itWith(tool)(name, async () => results.get(name));
  }
}
