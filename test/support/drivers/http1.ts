import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { constants, createGunzip } from 'node:zlib';
import { BodyClient } from './client.js';

/** A client of HTTP/1.1, on a connection of its own. */
export class Http1Client extends BodyClient {
  private readonly request: ClientRequest;
  private source: IncomingMessage | undefined;

  constructor(port: number, path: string, headers: Readonly<Record<string, string>>, options: RequestOptions = {}) {
    super();
    this.request = request({ host: '127.0.0.1', port, path, headers, agent: false, ...options });
    this.request.on('response', (response) => this.read(response));
    // A broken connection is one of the things tests wait for. Behind a response, its own close tells of it.
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
    response.on('error', () => this.endedAs('broken'));
    this.source = response;
    if (response.headers['content-encoding'] === 'gzip') {
      this.unzip(response);
    } else {
      response.setEncoding('utf8').on('data', this.body);
      response.on('close', () => this.bodyEnded(response.complete ? 'complete' : 'broken'));
    }
  }

  private unzip(response: IncomingMessage): void {
    const gunzip = createGunzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH });
    gunzip.setEncoding('utf8').on('data', this.body);
    gunzip.on('error', () => this.endedAs('broken'));
    gunzip.on('end', () => this.bodyEnded(response.complete ? 'complete' : 'broken'));
    // Not piped: what waits in a response that breaks off is lost.
    response.on('data', (data: Buffer) => gunzip.write(data));
    // Also behind a body that breaks off: what has come before is decoded to its end.
    response.on('close', () => gunzip.end());
  }
}
