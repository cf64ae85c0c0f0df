import { readFileSync } from 'node:fs';

const SETTLE_MS = 50;

/** @returns {Promise<{ heap: number, rss: number }>} bytes, after garbage collection */
export async function memory() {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

/** @returns {{ cpu: number }} microseconds, in user code and in the kernel */
export function cpu() {
  const { user, system } = process.cpuUsage();
  return { cpu: user + system };
}

/** @returns nanoseconds of the main thread, in user code and in the kernel, without the other threads of the process */
export function mainThreadCpu() {
  if (process.platform !== 'linux') {
    throw new Error('The CPU time of one thread is read from /proc, which only Linux has');
  }
  return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ', 1)[0]);
}
