import { Injectable } from '@nestjs/common';

const KEPT = 200;

/** A request that is over. */
export interface LogLine {
  readonly at: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** The number of bytes that were sent, with the head. */
  readonly bytes: number;
  readonly ms: number;
  /** Whether the response was complete before the client or the server closed the connection. */
  readonly complete: boolean;
}

/** The access log of the application: its last lines, and its listeners. */
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

  /** Calls a listener for every new line, until the returned function is called. */
  follow(follower: (line: LogLine) => void): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }
}
