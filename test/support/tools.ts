import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Where `.ci/nats-server` installs what the distribution does not have, or has in an older version. */
const OWN_FOLDER = process.env.STREAMING_TOOLS ?? join(homedir(), '.cache/nestjs-streaming/bin');

/** Programs that do the same. The first one that is installed is used. */
const ALTERNATIVES: Readonly<Record<string, readonly string[]>> = {
  // It is the same browser without windows, and needs less CPU.
  chromium: ['chromium-headless-shell', 'chromium'],
};

/** The path of a program, or `undefined` if it is not installed. @param others more folders to look in */
export function toolPath(name: string, others: readonly string[] = []): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  // Debian installs servers in /usr/sbin, which is not in the path of every user.
  return (ALTERNATIVES[name] ?? [name])
    .flatMap((each) => [OWN_FOLDER, ...folders, '/usr/sbin', ...others].map((folder) => join(folder, each)))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/**
 * `it`, for a test that needs a program. If the program is missing, the test is skipped, and the output says so. In CI the
 * test then fails, because nobody reads there which tests were skipped.
 */
export function itWith(
  tool: string,
  path: string | undefined = toolPath(tool),
): (name: string, run: () => Promise<void>, timeout?: number) => void {
  if (path !== undefined) {
    return (name, run, timeout) => it(name, run, timeout);
  }
  if (process.env.CI === 'true') {
    return (name) =>
      it(name, () => {
        throw new Error(`${tool} is not on this machine`);
      });
  }
  return (name, run) => {
    process.stderr.write(`SKIPPED, because ${tool} is not on this machine: ${name}\n`);
    it.skip(name, run);
  };
}

/** `describe`, for tests that need a program. If the program is missing, the tests are skipped or fail as with {@link itWith}. */
export function describeWith(
  tool: string,
  path: string | undefined = toolPath(tool),
): (name: string, tests: () => void) => void {
  if (path !== undefined) {
    return (name, tests) => describe(name, tests);
  }
  return (name) => describe(name, () => itWith(tool, path)(`is tested with ${tool}`, async () => undefined));
}
