import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { text } from 'node:stream/consumers';
import { BodyClient } from './client.js';

const CANCEL_CODE = constants.NGHTTP2_CANCEL;

/** The body of a GET. */
export async function http2Text(port: number, path: string): Promise<string> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    return await text(session.request({ ':path': path }));
  } finally {
    session.close();
  }
}

/** A client of HTTP/2 without TLS, on a separate session. */
export class Http2Client extends BodyClient {
  private readonly session: ClientHttp2Session;
  private readonly stream: ClientHttp2Stream;

  constructor(port: number, path: string, headers: Readonly<Record<string, string>>) {
    super();
    this.session = connect(`http://127.0.0.1:${port}`);
    this.stream = this.session.request({ ':path': path, ...headers });
    // Its close reports errors.
    this.session.on('error', () => this.endedAs('broken'));
    this.stream.on('error', () => this.endedAs('broken'));
    this.stream.on('response', ({ ':status': status = 0, ...rest }) => this.answeredWith(status, rest));
    this.stream.setEncoding('utf8').on('data', this.body);
    this.stream.on('close', () => {
      const { rstCode, readableEnded } = this.stream;
      // Node.js treats the end of a session as the end of its streams.
      const whole = rstCode === constants.NGHTTP2_NO_ERROR && readableEnded && !this.session.destroyed;
      this.bodyEnded(whole ? 'complete' : 'broken');
      this.session.close();
    });
  }

  stall(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  leave(): void {
    this.stream.close(CANCEL_CODE);
  }
}
