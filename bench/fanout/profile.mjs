import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';

/**
 * Runs, and writes a CPU profile of it if a file is given.
 * @template T
 * @param {string | undefined} file
 * @param {() => Promise<T>} run
 */
export async function profiled(file, run) {
  if (file === undefined) {
    return run();
  }
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: 200 });
  await session.post('Profiler.start');
  const result = await run();
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  writeFileSync(file, JSON.stringify(profile));
  return result;
}
