import type { Server } from 'node:http';
import { createRequire } from 'node:module';
import { cpus, hostname } from 'node:os';
import { Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { type Hub, InjectHub, StreamRegistry } from 'nestjs-streaming';
import { auditTime, type Subscription } from 'rxjs';
import { type Figures, Meter } from './meter.js';

const EVERY_MS = 1_000;
/** A client that reloads the page disconnects and reconnects: this is published only once. */
const SETTLED_MS = 100;

export interface Machine {
  /** The process that the client is connected to. */
  readonly process: string;
  readonly cpu: string;
  readonly cores: number;
  /** The versions of Nest and Node.js. */
  readonly nest: string;
  readonly node: string;
  readonly platform: string;
}

export interface Sample extends Figures {
  /** The host and the port of the process that was measured. */
  readonly process: string;
  /** Counts from 1 in each process. */
  readonly n: number;
  /** The time of the sample, in milliseconds since 1970. */
  readonly at: number;
  /** The number of open streams of the process. */
  readonly streams: number;
}

/** The number of clients that receive the figures, in all processes. */
export interface Audience {
  readonly watching: number;
}

/** Measures once a second, and publishes the sample to all clients. Each process has one meter, for any number of clients. */
@Injectable()
export class MetricsService implements OnModuleInit, OnModuleDestroy {
  private readonly about: Omit<Machine, 'process'> = {
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
  private watching = 0;

  constructor(
    @InjectHub('figures') private readonly hub: Hub<Sample | Audience>,
    private readonly streams: StreamRegistry,
    private readonly adapters: HttpAdapterHost,
  ) {}

  get machine(): Machine {
    return { ...this.about, process: this.name ?? '' };
  }

  onModuleInit(): void {
    this.meter.start();
    this.timer = setInterval(() => this.take(), EVERY_MS);
    this.presence = this.hub.presence.pipe(auditTime(SETTLED_MS)).subscribe(() => this.countViewers(true));
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
    this.presence?.unsubscribe();
    this.meter.stop();
  }

  private take(): void {
    const { name } = this;
    if (name !== undefined) {
      const counts = { n: ++this.taken, at: Date.now(), process: name, streams: this.streams.size };
      this.publish('sample', { ...counts, ...this.meter.read() });
      // Those of other processes come and go, too.
      this.countViewers(false);
    }
  }

  private countViewers(always: boolean): void {
    this.hub.count().then(
      (watching) => {
        if (always || watching !== this.watching) {
          this.watching = watching;
          this.publish('watching', { watching });
        }
      },
      (error: Error) => this.logger.error(`Not counted: ${error.message}`),
    );
  }

  /** The name of this process. `undefined` until the application listens. */
  private get name(): string | undefined {
    const server: Server = this.adapters.httpAdapter.getHttpServer();
    const address = server.address();
    return typeof address === 'object' && address !== null ? `${hostname()}:${address.port}` : undefined;
  }

  private publish(type: string, data: Sample | Audience): void {
    this.hub.publish(data, { type }).catch((error: Error) => this.logger.error(`Not published: ${error.message}`));
  }
}
