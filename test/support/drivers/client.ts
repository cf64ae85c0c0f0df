/** What a client was answered, before anything of the stream. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Why a stream ends, where clients can tell one from the other. */
export type Cause = 'completed' | 'shutdown' | 'error' | 'exception' | 'overload' | 'server-closed' | 'deadline';

/** One way of being a client, with which the same tests run as with every other. */
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

  /** Reads no more, until `resume()`. */
  abstract stall(): void;
  abstract resume(): void;
  /** Goes, without a word. */
  abstract leave(): void;

  /** The status and headers. Fails when there come none. */
  async answered(): Promise<Answer> {
    await this.wait(() => this.answer !== undefined, 'an answer');
    return this.answer as Answer;
  }

  /** The status, headers and body of a refusal. */
  async refused(): Promise<Answer & { readonly body: unknown }> {
    const answer = await this.answered();
    await this.ended();
    return { ...answer, body: JSON.parse(this.refusal) };
  }

  /** Waits for so many chunks, or until the chunks are as they should be. Fails when the stream ends before. */
  async until(check: number | ((records: readonly unknown[]) => boolean)): Promise<readonly unknown[]> {
    const done = typeof check === 'number' ? () => this.records.length >= check : () => check(this.records);
    await this.wait(done, typeof check === 'number' ? `${check} chunks` : 'what was waited for');
    return this.records;
  }

  /** Waits for so many heartbeats. */
  async beaten(count: number): Promise<void> {
    await this.wait(() => this.beats >= count, `${count} heartbeats`);
  }

  /** Waits for the end, and tells how it was. */
  async ended(): Promise<string> {
    while (this.ending === undefined) {
      await this.news();
    }
    return this.ending;
  }

  protected get answerStatus(): number | undefined {
    return this.answer?.status;
  }

  protected answeredWith(status: number, headers: Answer['headers']): void {
    this.answer = { status, headers };
    this.wake();
  }

  protected take(record: unknown): void {
    this.records.push(record);
    this.wake();
  }

  protected beat(): void {
    this.beats++;
    this.wake();
  }

  protected endedAs(ending: string): void {
    this.ending ??= ending;
    this.wake();
  }

  private async wait(done: () => boolean, what: string): Promise<void> {
    while (!done()) {
      if (this.ending !== undefined) {
        const had = JSON.stringify(this.records.slice(-3)).slice(0, 300);
        throw new Error(
          `It ended (${this.ending}) before there were ${what}. The last of ${this.records.length}: ${had} ${this.refusal}`,
        );
      }
      await this.news();
    }
  }

  private news(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.add(resolve);
    });
  }

  private wake(): void {
    for (const wake of this.waiting) {
      wake();
    }
    this.waiting.clear();
  }
}

/** A client that is given a body, of lines: NDJSON, a JSON text sequence, an event stream, or a refusal. */
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

  /** The body is over: what is left is no whole line. */
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
      this.beat();
    } else {
      this.take(JSON.parse(json));
    }
  }

  private eventLine(text: string, event: Map<string, string>): void {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(text) ?? [];
    if (text === ':') {
      this.beat();
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

/** Whether an event of this type is about the stream itself: where its client is, or when to come back. */
export function isOfTheStream(type: unknown): boolean {
  return type === 'position' || type === 'shutdown';
}

/** JSON as its value, and text that is none as it is. */
export function valueIn(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
