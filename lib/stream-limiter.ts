import { DEFAULTS, type StreamLimits } from './streaming.options.js';

/** Why a stream is refused. */
export interface OverLimit {
  readonly status: 429 | 503;
  readonly message: string;
  readonly retryAfter: number;
}

function ipOf(request: unknown): string {
  return (request as { readonly ip?: string }).ip ?? '';
}

/** Counts open streams against limits. */
export class StreamLimiter {
  private open = 0;
  private readonly clients = new Map<string, number>();

  constructor(private readonly limits: StreamLimits) {}

  /** Whether one more is too many. */
  over(request: unknown): OverLimit | undefined {
    const { connections = Infinity, perClient = Infinity, retryAfter = DEFAULTS.retryAfter } = this.limits;
    if (this.open >= connections) {
      return { status: 503, message: `All ${connections} streams are in use: try again later`, retryAfter };
    }
    if (perClient !== Infinity && (this.clients.get(this.clientOf(request)) ?? 0) >= perClient) {
      return { status: 429, message: `Too many streams: ${perClient} per client`, retryAfter };
    }
    return undefined;
  }

  /** Counts one in. @returns what counts it out */
  enter(request: unknown): () => void {
    const client = this.limits.perClient === undefined ? undefined : this.clientOf(request);
    this.count(client, 1);
    return () => this.count(client, -1);
  }

  private count(client: string | undefined, by: 1 | -1): void {
    this.open += by;
    if (client !== undefined) {
      const left = (this.clients.get(client) ?? 0) + by;
      left === 0 ? this.clients.delete(client) : this.clients.set(client, left);
    }
  }

  private clientOf(request: unknown): string {
    return (this.limits.clientOf ?? ipOf)(request);
  }
}
