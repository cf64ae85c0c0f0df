import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { constants, createGunzip } from 'node:zlib';
import { BodyClient } from './client.js';

/** A client of HTTP/1.1, on a separate connection. */
export class Http1Client extends BodyClient {
  private readonly request: ClientRequest;
  private source: IncomingMessage | undefined;

  constructor(port: number, path: string, headers: Readonly<Record<string, string>>, options: RequestOptions = {}) {
    super();
    this.request = request({ host: '127.0.0.1', port, path, headers, agent: false, ...options });
    this.request.on('response', (response) => this.read(response));
    // Tests wait for broken connections too. After the head, the close of the response reports them.
    this.request.on('error', () => this.source ?? this.endedAs('broken'));
    this.request.end();
  }

  stall(): void {
    this.source?.pause();
  }

  resume(): void {
    this.source?.resume();
  }

  leave(): void {
    this.request.destroy();
  }

  private read(response: IncomingMessage): void {
    this.answeredWith(response.statusCode ?? 0, response.headers);
    this.source = response;
    if (response.headers['content-encoding'] === 'gzip') {
      this.unzip(response);
    } else {
      response.on('error', () => this.endedAs('broken'));
      response.setEncoding('utf8').on('data', this.body);
      response.on('close', () => this.bodyEnded(response.complete ? 'complete' : 'broken'));
    }
  }

  private unzip(response: IncomingMessage): void {
    const gunzip = createGunzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH });
    gunzip.setEncoding('utf8').on('data', this.body);
    gunzip.on('error', () => this.endedAs('broken'));
    gunzip.on('end', () => this.bodyEnded(response.complete ? 'complete' : 'broken'));
    // Not piped: pipe() loses the data that waits in a response that is cut off.
    response.on('data', (data: Buffer) => gunzip.write(data));
    // Also after a body that is cut off: the data that arrived before is decoded first.
    response.on('error', () => undefined);
    response.on('close', () => gunzip.end());
  }
}
