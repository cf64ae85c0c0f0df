import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('load.mjs', import.meta.url));

/** Starts the load generator, which ends with this process. Returns a function that tells it what to do, and resolves to its answer. */
export function startLoad() {
  const child = spawn(process.execPath, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout);
  child.on('exit', () => {
    lines.emit('line', JSON.stringify({ error: 'it has ended' }));
  });
  return async (/** @type {{ kind: string } & Record<string, unknown>} */ work) => {
    const answered = once(lines, 'line');
    child.stdin.write(`${JSON.stringify(work)}\n`);
    const answer = JSON.parse((await answered)[0]);
    if (answer.error) {
      throw new Error(`load generator, ${work.kind}: ${answer.error}`);
    }
    return answer;
  };
}
