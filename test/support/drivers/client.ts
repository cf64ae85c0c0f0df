/** The head of a response. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Why a stream ends, if clients can distinguish it. */
export type Cause = 'completed' | 'shutdown' | 'error' | 'exception' | 'overload' | 'server-closed' | 'deadline';

/** One kind of client. The same tests run with every kind. */
export abstract class StreamClient {
  /** The chunks so far, as values. */
  readonly records: unknown[] = [];
  /** The heartbeats so far. */
  beats = 0;
  /** The body of a refusal so far. */
  refusal = '';
  /** How it ended: `complete` or `broken`, or the close code. */
  ending: string | undefined;
  private answer: Answer | undefined;
  private readonly waiting = new Set<() => void>();

  /** Stops reading until `resume()`. */
  abstract stall(): void;
  abstract resume(): void;
  /** Disconnects without notice. */
  abstract leave(): void;

  /** Waits for the status and headers. Rejects if none arrive. */
  async answered(): Promise<Answer> {
    await this.wait(() => this.answer !== undefined, 'an answer');
    return this.answer as Answer;
  }

  /** Waits for the status, headers and body of a refusal. */
  async refused(): Promise<Answer & { readonly body: unknown }> {
    const answer = await this.answered();
    await this.ended();
    return { ...answer, body: JSON.parse(this.refusal) };
  }

  /** Waits for a number of chunks, or until a condition on the chunks holds. Rejects if the stream ends before. */
  async until(check: number | ((records: readonly unknown[]) => boolean)): Promise<readonly unknown[]> {
    const done = typeof check === 'number' ? () => this.records.length >= check : () => check(this.records);
    await this.wait(done, typeof check === 'number' ? `${check} chunks` : 'what was waited for');
    return this.records;
  }

  /** Waits for a number of heartbeats. */
  async untilHeartbeats(count: number): Promise<void> {
    await this.wait(() => this.beats >= count, `${count} heartbeats`);
  }

  /** Waits for the end. Resolves to how it ended. */
  async ended(): Promise<string> {
    while (this.ending === undefined) {
      await this.nextChange();
    }
    return this.ending;
  }

  protected get answerStatus(): number | undefined {
    return this.answer?.status;
  }

  protected answeredWith(status: number, headers: Answer['headers']): void {
    this.answer = { status, headers };
    this.notifyWaiters();
  }

  protected take(record: unknown): void {
    this.records.push(record);
    this.notifyWaiters();
  }

  protected addHeartbeat(): void {
    this.beats++;
    this.notifyWaiters();
  }

  protected endedAs(ending: string): void {
    this.ending ??= ending;
    this.notifyWaiters();
  }

  private async wait(done: () => boolean, what: string): Promise<void> {
    while (!done()) {
      if (this.ending !== undefined) {
        const had = JSON.stringify(this.records.slice(-3)).slice(0, 300);
        throw new Error(
          `It ended (${this.ending}) before there were ${what}. The last of ${this.records.length}: ${had} ${this.refusal}`,
        );
      }
      await this.nextChange();
    }
  }

  private nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.add(resolve);
    });
  }

  private notifyWaiters(): void {
    for (const resume of this.waiting) {
      resume();
    }
    this.waiting.clear();
  }
}

/** A client that receives a body of lines: NDJSON, a JSON text sequence, an event stream, or a refusal. */
export abstract class BodyClient extends StreamClient {
  /** The id of the last event of an event stream. */
  lastEventId: string | undefined;
  private readonly pieces: string[] = [];
  private line: (text: string) => void = (text) => this.jsonLine(text);

  protected override answeredWith(status: number, headers: Answer['headers']): void {
    if (status >= 400) {
      this.line = (text) => {
        this.refusal += text;
      };
    } else if (headers['content-type']?.includes('text/event-stream')) {
      const event = new Map<string, string>();
      this.line = (text) => this.eventLine(text, event);
    }
    super.answeredWith(status, headers);
  }

  protected readonly body = (text: string): void => {
    const [rest = '', ...lines] = text.split('\n');
    this.pieces.push(rest);
    for (const line of lines) {
      this.line(this.pieces.join(''));
      this.pieces.splice(0, this.pieces.length, line);
    }
  };

  /** Ends the body. The rest is not a complete line. */
  protected bodyEnded(ending: string): void {
    if ((this.answerStatus ?? 0) >= 400) {
      this.line(this.pieces.join(''));
    }
    this.endedAs(ending);
  }

  private jsonLine(text: string): void {
    // The separators of a JSON text sequence (RFC 7464): alone, they are heartbeats.
    const json = text.replaceAll('\x1e', '');
    if (json === '') {
      this.addHeartbeat();
    } else {
      this.take(JSON.parse(json));
    }
  }

  private eventLine(text: string, event: Map<string, string>): void {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(text) ?? [];
    if (text === ':') {
      this.addHeartbeat();
    } else if (text !== '') {
      event.set(name, value);
    } else {
      this.lastEventId = event.get('id') ?? this.lastEventId;
      const data = event.get('data');
      const type = event.get('event');
      event.clear();
      if (data !== undefined && !isOfTheStream(type)) {
        this.take(valueIn(data));
      }
    }
  }
}

/** Returns whether events of this type belong to the stream itself: `position` and `shutdown`. */
export function isOfTheStream(type: unknown): boolean {
  return type === 'position' || type === 'shutdown';
}

/** Returns the value of JSON, and text that is not JSON unchanged. */
export function valueIn(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
