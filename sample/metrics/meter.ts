import { cpus, freemem, totalmem } from 'node:os';
import { type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks';

const RESOLUTION_MS = 10;
const NS_PER_MS = 1e6;
const US_PER_MS = 1e3;

export interface Figures {
  /** Of the whole machine, and of this process (100 is one core), in percent. */
  readonly cpu: { readonly machine: number; readonly process: number };
  /** In bytes. */
  readonly memory: { readonly used: number; readonly total: number; readonly rss: number; readonly heap: number };
  /** The delay of the event loop in milliseconds, and the share of time in which it was busy, in percent. */
  readonly loop: { readonly mean: number; readonly p99: number; readonly max: number; readonly busy: number };
}

interface CpuTime {
  readonly idle: number;
  readonly total: number;
}

function cpuTime(): CpuTime {
  let idle = 0;
  let total = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    total += times.user + times.nice + times.sys + times.irq + times.idle;
  }
  return { idle, total };
}

function rounded(value: number): number {
  return Number.isFinite(value) ? Math.round(Math.max(0, value) * 100) / 100 : 0;
}

/** Measures the time since the last measurement. */
export class Meter {
  private readonly delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private machine: CpuTime = cpuTime();
  private process = process.cpuUsage();
  private utilization: EventLoopUtilization = performance.eventLoopUtilization();
  private readAt = performance.now();

  start(): void {
    this.delay.enable();
  }

  stop(): void {
    this.delay.disable();
  }

  read(): Figures {
    const now = performance.now();
    const figures = { cpu: this.cpu(now - this.readAt), memory: this.memory(), loop: this.loop() };
    this.readAt = now;
    return figures;
  }

  private cpu(ms: number): Figures['cpu'] {
    const before = this.machine;
    const spent = process.cpuUsage(this.process);
    this.machine = cpuTime();
    this.process = process.cpuUsage();
    const busy = 1 - (this.machine.idle - before.idle) / (this.machine.total - before.total);
    return { machine: rounded(busy * 100), process: rounded(((spent.user + spent.system) / US_PER_MS / ms) * 100) };
  }

  private memory(): Figures['memory'] {
    const { rss, heapUsed } = process.memoryUsage();
    const total = totalmem();
    return { used: total - freemem(), total, rss, heap: heapUsed };
  }

  private loop(): Figures['loop'] {
    const { mean, max } = this.delay;
    // The histogram measures the interval of its own timer. Everything above its resolution is delay.
    const late = (ns: number) => rounded(ns / NS_PER_MS - RESOLUTION_MS);
    const figures = { mean: late(mean), p99: late(this.delay.percentile(99)), max: late(max) };
    this.delay.reset();
    const utilization = performance.eventLoopUtilization();
    const { utilization: busy } = performance.eventLoopUtilization(utilization, this.utilization);
    this.utilization = utilization;
    return { ...figures, busy: rounded(busy * 100) };
  }
}
