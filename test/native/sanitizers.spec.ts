import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NODE_GYP_TOOLS, nodeGypTools, type Sanitizer, sanitizerEnvironment } from '../support/node-gyp.js';
import { describeWith } from '../support/tools.js';
import { BUILD_MS, buildProducers } from './producers.js';

const OURS = /nestjs_streaming\.h|producers\.c|threads\.cc/;

interface Result {
  readonly code: number | string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** The reports of the sanitizer about the header and the addon. Node.js itself has races and leaks too. */
  readonly reports: readonly string[];
}

/** Runs a program with an addon in a process of its own. */
async function run(name: string, sanitizer: Sanitizer | undefined, ...options: readonly string[]): Promise<Result> {
  const addon = await buildProducers(sanitizer);
  const program = fileURLToPath(new URL(`programs/${name}`, import.meta.url));
  const env = sanitizer ? await sanitizerEnvironment(sanitizer) : process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--expose-gc', program, addon, ...options],
      { env, maxBuffer: 100_000_000 },
      (error, stdout, stderr) => {
        const reports = stderr.split(/^(?=WARNING: ThreadSanitizer|==\d+==ERROR|(?:Direct|Indirect) leak of)/m);
        resolve({ code: error ? error.code : 0, stdout, stderr, reports: reports.filter(isOurs) });
      },
    );
  });
}

/** Returns whether a report has the header or the addon in the stack of an allocation or of an access, not only in that of a caller. */
function isOurs(report: string): boolean {
  const isLeak = /^(?:Direct|Indirect) leak of/.test(report);
  const stack = isLeak ? report.split('\n').slice(0, 3).join('\n') : report;
  return /^(?:WARNING|==|Direct|Indirect)/.test(report) && OURS.test(stack);
}

describeWith(NODE_GYP_TOOLS, nodeGypTools())('An addon with threads', () => {
  it.each([undefined, 'address', 'thread'] as const)(
    'outlives its environments, and has one stream for each reader in several environments, with the sanitizer: %s',
    async (sanitizer) => {
      const { stdout, stderr, reports, code } = await run(
        'environments.mjs',
        sanitizer,
        ...(sanitizer ? [] : ['open']),
      );

      expect({ stdout, reports }).toEqual({ stdout: '[10000,10000,10000] of 10000, 0 threads\n', reports: [] });
      // With a sanitizer, the code also reports what it finds in Node.js itself. A signal has no code.
      expect(code).toEqual(sanitizer ? expect.any(Number) : 0);
      if (!sanitizer) {
        expect(stderr).toBe('');
      }
    },
    BUILD_MS,
  );

  it(
    'does not keep what AsyncLocalStorage contains for the request that opens the first stream',
    async () => {
      const { stdout, stderr, code } = await run('context.mjs', undefined);

      expect({ stdout, stderr, code }).toEqual({ stdout: 'undefined\n', stderr: '', code: 0 });
    },
    BUILD_MS,
  );

  it(
    'has no memory left after 1 000 streams, and a stream that JavaScript drops is cancelled',
    async () => {
      const { stdout, reports } = await run('opens.mjs', 'address');

      expect({ stdout, reports }).toEqual({ stdout: 'a dropped stream: 1\n', reports: [] });
    },
    BUILD_MS,
  );

  it(
    'is reported by the sanitizer if the producer forgets to close its stream',
    async () => {
      const { reports } = await run('opens.mjs', 'address', 'leak');

      expect(reports).not.toEqual([]);
    },
    BUILD_MS,
  );
});
