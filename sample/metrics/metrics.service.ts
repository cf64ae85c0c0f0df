import { cpus } from 'node:os';
import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { StreamRegistry } from 'nestjs-streaming';
import { defer, from, merge, type Observable, Subject } from 'rxjs';
import { type Figures, Meter } from './meter.js';

const EVERY_MS = 1_000;
/** A minute. */
const KEPT = 60;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly platform: string;
}

export interface Sample extends Figures {
  /** Counts from 1. */
  readonly n: number;
  /** When it was taken, in milliseconds since 1970. */
  readonly at: number;
  /** How many streams the application has open. */
  readonly streams: number;
}

/** One meter for all clients: the n-th costs nothing to measure for. */
@Injectable()
export class MetricsService implements OnModuleInit, OnModuleDestroy {
  readonly machine: Machine = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  };
  /** Ids of another run of the application must not be taken for ours. */
  private readonly run = Date.now().toString(36);
  private readonly meter = new Meter();
  private readonly samples: Sample[] = [];
  private readonly live = new Subject<Sample>();
  private timer: NodeJS.Timeout | undefined;
  private taken = 0;

  constructor(private readonly streams: StreamRegistry) {}

  onModuleInit(): void {
    this.meter.start();
    this.timer = setInterval(() => this.take(), EVERY_MS);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
    this.meter.stop();
  }

  idOf(sample: Sample): string {
    return `${this.run}-${sample.n}`;
  }

  /** What was sampled after the one with that id, of what is still known, and then what comes. */
  since(id: string | undefined): Observable<Sample> {
    const [run, n] = id?.split('-') ?? [];
    const after = run === this.run ? Number(n) : 0;
    // Both in the same turn: no sample falls between them.
    return defer(() => merge(from(this.samples.filter((sample) => sample.n > after)), this.live));
  }

  private take(): void {
    const sample = { n: ++this.taken, at: Date.now(), streams: this.streams.size, ...this.meter.read() };
    this.samples.push(sample);
    if (this.samples.length > KEPT) {
      this.samples.shift();
    }
    this.live.next(sample);
  }
}
