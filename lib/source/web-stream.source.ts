import { DONE, type PullSource, type SourceHead, type Step } from './source.js';

/** A web `ReadableStream`. */
export class WebStreamSource implements PullSource {
  readonly kind: 'pull' = 'pull';
  private readonly reader: ReadableStreamDefaultReader<unknown>;

  constructor(stream: ReadableStream<unknown>) {
    this.reader = stream.getReader();
  }

  pull(): PromiseLike<Step> {
    return this.reader.read() as PromiseLike<Step>;
  }

  stop(): unknown {
    return this.reader.cancel();
  }
}

// They describe the connection a fetched response came over (RFC 9110 §7.6.1), not ours.
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** A web `Response`: its body as it is, its status and its headers. */
export class ResponseSource implements PullSource {
  readonly kind = 'pull';
  readonly head: SourceHead;
  private readonly body: WebStreamSource | undefined;

  constructor(response: Response) {
    this.body = response.body ? new WebStreamSource(response.body) : undefined;
    this.head = { status: response.status, headers: headersOf(response) };
  }

  pull(): Step | PromiseLike<Step> {
    return this.body ? this.body.pull() : DONE;
  }

  stop(): unknown {
    return this.body?.stop();
  }
}

function headersOf(response: Response): [string, string | string[]][] {
  const fetched = response.type !== 'default';
  // fetch() has decoded the body, but left these two as they came.
  const decoded = fetched && response.headers.has('content-encoding');
  const headers: [string, string | string[]][] = [];
  response.headers.forEach((value, name) => {
    const foreign =
      (fetched && HOP_BY_HOP.has(name)) || (decoded && (name === 'content-encoding' || name === 'content-length'));
    if (!foreign && name !== 'set-cookie') {
      headers.push([name, value]);
    }
  });
  const cookies = response.headers.getSetCookie();
  return cookies.length > 0 ? [...headers, ['set-cookie', cookies]] : headers;
}
