import type { Admission } from '../connection/stream-settings.js';
import { DEFAULTS } from '../options/defaults.js';
import type { StreamLimits } from '../options/streaming.options.js';
import { LONGEST_MS } from '../util/checks.js';
import { StreamError } from '../util/errors.js';
import { syncResult } from '../util/thenable.js';

/** Why a stream is refused. */
export interface OverLimit {
  readonly status: 429 | 503;
  readonly message: string;
  /** The time after which the client may try again, in milliseconds. */
  readonly retryAfter: number;
}

/** The request that opens a stream. */
export interface Applicant {
  /** The platform's request. */
  readonly request: unknown;
  /** The socket or the HTTP/2 session that carries the stream. */
  readonly carrier: object;
}

/** A count of streams. */
class Count {
  open = 0;
}

/** A carrier, with the number of its open streams as a property for each limiter. */
type Carrier = { [ofCarrier: symbol]: number | undefined };

function ipOf(request: unknown): string {
  return (request as { readonly ip?: string }).ip ?? '';
}

/** Counts open streams against limits. It is also the admission of streams that only `perConnection` counts, which saves an object for each. */
export class StreamLimiter implements Admission {
  private readonly all = new Count();
  private readonly clients = new Map<string, Count>();
  /** The property of a carrier with the number of its open streams. With a `WeakMap`, each would take 85 bytes, instead of 8. */
  private readonly ofCarrier = Symbol('nestjs-streaming:streams');
  private readonly perConnection: number;

  constructor(private readonly limits: StreamLimits) {
    this.perConnection = limits.perConnection || Infinity;
  }

  /** Returns why one more stream is too many, or `undefined` if there is room for it. */
  over({ request, carrier }: Applicant): OverLimit | undefined {
    const { connections = Infinity, perClient = Infinity, retryAfter = DEFAULTS.limits.retryAfter } = this.limits;
    if (this.all.open >= connections) {
      return { status: 503, message: `All ${connections} streams are in use: try again later`, retryAfter };
    }
    if (perClient !== Infinity && (this.clients.get(this.clientOf(request))?.open ?? 0) >= perClient) {
      return { status: 429, message: `Too many streams: ${perClient} per client`, retryAfter };
    }
    const { perConnection } = this;
    if (perConnection !== Infinity && this.openOn(carrier) >= perConnection) {
      return { status: 429, message: `Too many streams: ${perConnection} per connection`, retryAfter };
    }
    return undefined;
  }

  /** Counts a stream until its admission is left. */
  enter({ request, carrier }: Applicant): Admission {
    const { connections, perClient } = this.limits;
    const client = perClient === undefined ? undefined : this.clientOf(request);
    const counts = this.perConnection !== Infinity;
    if (counts) {
      this.countOn(carrier, 1);
    }
    if (counts && connections === undefined && perClient === undefined) {
      return this;
    }
    return new CountedStream(
      this.all,
      counts ? this : undefined,
      client === undefined ? undefined : { clients: this.clients, client },
    );
  }

  /** Called when a stream has ended that only `perConnection` counts. */
  leave(carrier: object): void {
    this.countOn(carrier, -1);
  }

  private countOn(carrier: object, change: 1 | -1): void {
    (carrier as Carrier)[this.ofCarrier] = this.openOn(carrier) + change;
  }

  private openOn(carrier: object): number {
    return (carrier as Carrier)[this.ofCarrier] ?? 0;
  }

  private clientOf(request: unknown): string {
    const client: unknown = syncResult((this.limits.clientOf ?? ipOf)(request), '"limits.clientOf"');
    if (typeof client !== 'string' && typeof client !== 'number') {
      // `undefined` would be the same client for all, and every object would be a different client.
      throw new StreamError(
        'invalid-option',
        `"limits.clientOf" returned ${client === null ? 'null' : typeof client}: return a string, also for a client that is not known`,
      );
    }
    return String(client);
  }
}

/** The admission of a stream that is in several counts. An object takes less memory than a closure, for as long as the stream is open. */
class CountedStream implements Admission {
  constructor(
    private readonly all: Count,
    private readonly perConnection: StreamLimiter | undefined,
    private readonly of: { readonly clients: Map<string, Count>; readonly client: string } | undefined,
  ) {
    all.open++;
    if (of) {
      countOf(of.clients, of.client).open++;
    }
  }

  leave(carrier: object): void {
    this.all.open--;
    this.perConnection?.leave(carrier);
    const count = this.of?.clients.get(this.of.client);
    if (this.of && count && --count.open === 0) {
      this.of.clients.delete(this.of.client);
    }
  }
}

/** The admission of a stream that several limiters count. */
class SeveralAdmissions implements Admission {
  constructor(
    private readonly first: Admission,
    private readonly second: Admission,
  ) {}

  leave(carrier: object): void {
    this.first.leave(carrier);
    this.second.leave(carrier);
  }
}

const UNLIMITED: Admission = { leave: () => undefined };

/** Counts a stream in all limiters. Most routes have one, whose admission needs no list around it. */
export function enterAll(limiters: readonly StreamLimiter[], applicant: Applicant): Admission {
  let admission = UNLIMITED;
  for (const limiter of limiters) {
    const next = limiter.enter(applicant);
    admission = admission === UNLIMITED ? next : new SeveralAdmissions(admission, next);
  }
  return admission;
}

/** Returns the count of a client. Creates it if there is none. */
function countOf(counts: Map<string, Count>, key: string): Count {
  let count = counts.get(key);
  if (!count) {
    count = new Count();
    counts.set(key, count);
  }
  return count;
}

/**
 * Returns a time after which a client may reconnect, in whole milliseconds: `retry` ± 50 %, so that clients do not all reconnect at once.
 * It is never longer than a timer can wait, since clients would then reconnect at once.
 */
export function jittered(retry: number): number {
  return Math.min(LONGEST_MS, Math.round(retry * (0.5 + Math.random())));
}
