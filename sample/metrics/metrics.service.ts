import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { type Hub, InjectHub, StreamRegistry } from 'nestjs-streaming';
import { auditTime, type Subscription } from 'rxjs';
import { type Figures, Meter } from './meter.js';

const EVERY_MS = 1_000;
/** A client that reloads the page disconnects and reconnects: this is published only once. */
const SETTLED_MS = 100;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** The versions of Nest and Node.js. */
  readonly nest: string;
  readonly node: string;
  readonly platform: string;
}

export interface Sample extends Figures {
  /** Counts from 1. */
  readonly n: number;
  /** The time of the sample, in milliseconds since 1970. */
  readonly at: number;
  /** The number of open streams of the application. */
  readonly streams: number;
}

/** The number of clients that receive the figures. */
export interface Audience {
  readonly watching: number;
}

/** Measures once a second, and publishes the sample to all clients: one meter and one history, for any number of clients. */
@Injectable()
export class MetricsService implements OnModuleInit, OnModuleDestroy {
  readonly machine: Machine = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    nest: createRequire(import.meta.url)('@nestjs/core/package.json').version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  };
  private readonly logger = new Logger('Metrics');
  private readonly meter = new Meter();
  private timer: NodeJS.Timeout | undefined;
  private presence: Subscription | undefined;
  private taken = 0;

  constructor(
    @InjectHub('figures') private readonly hub: Hub<Sample | Audience>,
    private readonly streams: StreamRegistry,
  ) {}

  onModuleInit(): void {
    this.meter.start();
    this.timer = setInterval(() => this.take(), EVERY_MS);
    this.presence = this.hub.presence
      .pipe(auditTime(SETTLED_MS))
      .subscribe(() => this.publish('watching', { watching: this.hub.size() }));
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
    this.presence?.unsubscribe();
    this.meter.stop();
  }

  private take(): void {
    this.publish('sample', { n: ++this.taken, at: Date.now(), streams: this.streams.size, ...this.meter.read() });
  }

  private publish(type: string, data: Sample | Audience): void {
    this.hub.publish(data, { type }).catch((error: Error) => this.logger.error(`Not published: ${error.message}`));
  }
}
