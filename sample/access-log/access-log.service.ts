import { Injectable } from '@nestjs/common';

const KEPT = 200;

/** A request that is over. */
export interface LogLine {
  readonly at: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** What went on the wire, head included. */
  readonly bytes: number;
  readonly ms: number;
  /** Whether the response was finished, or one of the two ends left before. */
  readonly complete: boolean;
}

/** The application's own access log: the last lines, and whoever follows it. */
@Injectable()
export class AccessLogService {
  private readonly lines: LogLine[] = [];
  private readonly followers = new Set<(line: LogLine) => void>();

  add(line: LogLine): void {
    this.lines.push(line);
    if (this.lines.length > KEPT) {
      this.lines.shift();
    }
    for (const follower of this.followers) {
      follower(line);
    }
  }

  /** The last lines, oldest first. */
  last(count: number): readonly LogLine[] {
    return count > 0 ? this.lines.slice(-count) : [];
  }

  /** Calls for every line from now on, until the function it returns is called. */
  follow(follower: (line: LogLine) => void): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }
}
