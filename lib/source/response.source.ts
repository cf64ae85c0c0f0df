import { DONE, type Step } from '../util/iteration.js';
import { type PullSource, type SourceHead } from './source.js';

// These headers describe the connection of a fetched response (RFC 9110 §7.6.1), not that of the client.
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The headers of a web `Response`, or of a `Response` of the package node-fetch, which has `raw()` instead of `getSetCookie()`. */
interface ResponseHeaders {
  has(name: string): boolean;
  forEach(callback: (value: string, name: string) => void): void;
  getSetCookie?(): string[];
  raw?(): Readonly<Record<string, string[]>>;
}

/** The used part of a `Response`, which may come from any library or realm. */
export interface ResponseLike {
  readonly status: number;
  readonly type?: string;
  readonly url?: string;
  readonly headers: ResponseHeaders;
  readonly bodyUsed: boolean;
  /** A web `ReadableStream`, or a Node.js `Readable` in the package node-fetch. */
  readonly body: object | null;
}

/** Reads the body of a `Response`, and provides its status and headers. */
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
  // fetch() has decoded the body, but has not removed these two headers.
  const decoded = fetched && given.has('content-encoding') && !isRaw(body);
  const headers: [string, string | string[]][] = [];
  given.forEach((value, name) => {
    const foreign =
      (fetched && HOP_BY_HOP.has(name)) || (decoded && (name === 'content-encoding' || name === 'content-length'));
    // The SDKs of AI protocols set `Connection: keep-alive`, the default of HTTP/1.1. Their users should not get a warning about it.
    const needless = name === 'connection' && value.toLowerCase() === 'keep-alive';
    if (!foreign && !needless && name !== 'set-cookie') {
      headers.push([name, value]);
    }
  });
  const cookies = given.getSetCookie?.() ?? given.raw?.()['set-cookie'] ?? [];
  return cookies.length > 0 ? [...headers, ['set-cookie', cookies]] : headers;
}

/** Returns whether node-fetch has not decoded a body, as with `compress: false`. A decoded body is a stream of zlib. */
function isRaw(body: object | null): boolean {
  return body !== null && 'pipe' in body && !('bytesWritten' in body);
}
