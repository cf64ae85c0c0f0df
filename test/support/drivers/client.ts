/** What a client was answered, before anything of the stream. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Why a stream ends, where clients can tell one from the other. */
export type Cause = 'completed' | 'shutdown' | 'error' | 'overload' | 'server-closed' | 'deadline';

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

/** A client that is given a body, of NDJSON or of a refusal. */
export abstract class BodyClient extends StreamClient {
  private status = 0;
  private pieces: string[] = [];

  protected override answeredWith(status: number, headers: Answer['headers']): void {
    this.status = status;
    super.answeredWith(status, headers);
  }

  protected readonly body = (text: string): void => {
    if (this.status >= 400) {
      this.refusal += text;
      return;
    }
    const [rest = '', ...lines] = text.split('\n');
    this.pieces.push(rest);
    for (const line of lines) {
      this.line(this.pieces.join(''));
      this.pieces = [line];
    }
  };

  private line(text: string): void {
    if (text === '') {
      this.beat();
    } else {
      this.take(JSON.parse(text));
    }
  }
}
