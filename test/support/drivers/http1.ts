import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { Readable } from 'node:stream';
import { constants, createGunzip } from 'node:zlib';
import { BodyClient } from './client.js';

/** A client of HTTP/1.1, on a connection of its own. */
export class Http1Client extends BodyClient {
  private readonly request: ClientRequest;
  private source: Readable | undefined;

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
    if (response.headers['content-encoding'] === 'gzip') {
      this.source = this.unzipped(response);
    } else {
      this.source = response;
      response.on('close', () => this.bodyEnded(response.complete ? 'complete' : 'broken'));
    }
    this.source.setEncoding('utf8').on('data', this.body);
  }

  private unzipped(response: IncomingMessage): Readable {
    const gunzip = createGunzip({ flush: constants.Z_SYNC_FLUSH });
    gunzip.on('error', () => this.endedAs('broken'));
    gunzip.on('end', () => this.bodyEnded(response.complete ? 'complete' : 'broken'));
    response.on('close', () => {
      if (!response.complete) {
        gunzip.flush(() => this.bodyEnded('broken'));
      }
    });
    return response.pipe(gunzip);
  }
}
