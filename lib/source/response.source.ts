import { DONE, type Step } from '../util/iteration.js';
import { type PullSource, type SourceHead } from './source.js';

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

/** The headers of a `Response`: those of the web, or of the node-fetch package, which has `raw()` and no `getSetCookie()`. */
interface ResponseHeaders {
  has(name: string): boolean;
  forEach(callback: (value: string, name: string) => void): void;
  getSetCookie?(): string[];
  raw?(): Readonly<Record<string, string[]>>;
}

/** The part of a `Response` that is used, whichever library or realm it comes from. */
export interface ResponseLike {
  readonly status: number;
  readonly type?: string;
  readonly url?: string;
  readonly headers: ResponseHeaders;
  readonly bodyUsed: boolean;
  /** A web `ReadableStream`; of the node-fetch package a Node.js `Readable`. */
  readonly body: object | null;
}

/** A `Response`: its body as it is, its status and its headers. */
export class ResponseSource implements PullSource {
  readonly kind = 'pull';
  readonly head: SourceHead;

  constructor(
    response: ResponseLike,
    private readonly body: PullSource | undefined,
  ) {
    this.head = { status: response.status, headers: headersOf(response) };
  }

  pull(): Step | PromiseLike<Step> {
    return this.body ? this.body.pull() : DONE;
  }

  stop(): unknown {
    return this.body?.stop();
  }
}

function headersOf({ type = 'default', url = '', headers: given, body }: ResponseLike): [string, string | string[]][] {
  const fetched = type !== 'default' || url !== '';
  // fetch() has decoded the body, but left these two as they came.
  const decoded = fetched && given.has('content-encoding') && !isRaw(body);
  const headers: [string, string | string[]][] = [];
  given.forEach((value, name) => {
    const foreign =
      (fetched && HOP_BY_HOP.has(name)) || (decoded && (name === 'content-encoding' || name === 'content-length'));
    if (!foreign && name !== 'set-cookie') {
      headers.push([name, value]);
    }
  });
  const cookies = given.getSetCookie?.() ?? given.raw?.()['set-cookie'] ?? [];
  return cookies.length > 0 ? [...headers, ['set-cookie', cookies]] : headers;
}

/** Whether it is a body that node-fetch has not decoded, as with `compress: false`: what decodes is a stream of zlib. */
function isRaw(body: object | null): boolean {
  return body !== null && 'pipe' in body && !('bytesWritten' in body);
}
