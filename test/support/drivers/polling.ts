import { StreamClient, valueIn } from './client.js';

/** How long a poll may wait, in seconds. */
const WAIT_S = 20;

/** A client of an event stream that polls. Each request resumes after the last id. */
export class PollingClient extends StreamClient {
  private readonly controller = new AbortController();
  /** The statuses of the responses so far. */
  readonly statuses: number[] = [];
  private stalled: Promise<void> | undefined;
  private goOn: () => void = () => undefined;

  constructor(
    private readonly url: string,
    private readonly headers: Readonly<Record<string, string>>,
  ) {
    super();
    this.poll(headers['last-event-id']).then(
      () => this.endedAs('complete'),
      () => this.endedAs('broken'),
    );
  }

  stall(): void {
    this.stalled ??= new Promise((resolve) => {
      this.goOn = resolve;
    });
  }

  resume(): void {
    this.goOn();
    this.stalled = undefined;
  }

  leave(): void {
    this.controller.abort();
  }

  private async poll(from: string | undefined): Promise<void> {
    for (let id = from; ; ) {
      await this.stalled;
      const response = await fetch(this.url, {
        headers: { ...this.headers, prefer: `wait=${WAIT_S}`, ...(id === undefined ? {} : { 'last-event-id': id }) },
        signal: this.controller.signal,
      });
      this.statuses.push(response.status);
      this.answeredWith(response.status, Object.fromEntries(response.headers));
      const body = await response.text();
      if (!response.ok) {
        this.refusal = body;
        return;
      }
      id = response.headers.get('last-event-id') ?? id;
      for (const line of body.split('\n').filter((each) => each !== '')) {
        this.take(valueIn(line));
      }
    }
  }
}
