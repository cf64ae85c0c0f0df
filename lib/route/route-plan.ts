import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { HttpException, HttpStatus, NotAcceptableException } from '@nestjs/common';
import type { ModuleRef } from '@nestjs/core';
import { type AccessLimits, expiryOf } from '../connection/access-check.js';
import { HookChain } from '../connection/hooks.js';
import { LiveConnection } from '../connection/live-connection.js';
import type { StreamHooks } from '../connection/stream-connection.js';
import type { Admission, StreamParts, StreamServices, StreamSettings } from '../connection/stream-settings.js';
import type { StreamFormat } from '../format/format.js';
import { ALL_FORMATS } from '../format/formats.js';
import { type ChosenFormat, chooseFormat, negotiateFormat } from '../format/negotiate.js';
import { PAGE_FORMAT } from '../format/page.format.js';
import { sseFormat } from '../format/sse.format.js';
import { DEFAULTS } from '../options/defaults.js';
import type { StreamBehavior } from '../options/streaming.options.js';
import { isEventSource } from '../platform/event-source.js';
import { idInUrl, lastEventIdOf } from '../platform/last-event-id.js';
import { exchangeOn, type PlatformResponse } from '../platform/platform.js';
import { waitOf } from '../platform/prefer.js';
import type { SettingsOfRun } from '../run/run.options.js';
import type { Runs } from '../run/runs.js';
import { type CompressionSettings, negotiateCoding } from '../transport/compression/content-coding.js';
import { CompressedTransport } from '../transport/compression/transport.js';
import { Http1Transport } from '../transport/http1.transport.js';
import { Http2Transport } from '../transport/http2.transport.js';
import type { ResponseHead } from '../transport/response-head.js';
import type { Transport } from '../transport/transport.js';
import { addLabels, NO_LABELS, type StreamLabels } from '../util/labels.js';
import type { WebSocketPlan } from '../websocket/websocket-plan.js';
import { enterAll, jittered, type OverLimit, type StreamLimiter } from './limiter.js';
import type { Reauthorizer } from './reauthorizer.js';
import { RunRoute } from './run-route.js';

const UPGRADE_REQUIRED = 426;
const HEADER_TOO_LARGE = 431;
/** The maximum length of `Accept` that is negotiated, in characters. 16 kB would take milliseconds. Browsers send about 200. */
const LONGEST_ACCEPT = 1_024;

/** A time below is in seconds rather than in milliseconds: as milliseconds, it is in 1970. */
const EARLIEST_MS = 10_000_000_000;

/** The refusal of streams while the application closes. */
const CLOSING: OverLimit = {
  status: 503,
  message: 'The server is shutting down: try again later',
  retryAfter: DEFAULTS.limits.retryAfter,
};

/** The refusal of a stream whose labels were closed while its request was on its way to the handler. */
const JUST_CLOSED: OverLimit = {
  status: 503,
  message: 'The server has just closed this stream: try again later',
  retryAfter: DEFAULTS.limits.retryAfter,
};

let connections = 0;

/** All settings of a route that are known before a request arrives. */
export interface PlanParts {
  readonly settings: Omit<StreamSettings, 'accessCheck' | 'hooks' | 'services'>;
  readonly services: StreamServices;
  /** The formats that the route offers, or `undefined` if it offers all, so that for a wildcard the first chunk decides. */
  readonly formats: readonly StreamFormat[] | undefined;
  /** Whether the format decides when chunks are sent, since neither the route nor the application does. */
  readonly flushOfFormat: boolean;
  /** The status that Nest gives the route, which the format may replace. `undefined` if it may not. */
  readonly defaultStatus: number | undefined;
  /** `undefined`: bodies are not compressed. */
  readonly compression: CompressionSettings | undefined;
  /** Checks the access of clients again. `undefined` without the option `reauthorize`. */
  readonly reauthorizer: Reauthorizer | undefined;
  /** The option `expiresAt` of the route, or else that of the application. */
  readonly expiresAt: StreamBehavior['expiresAt'];
  /** The options `labels` of the application and of the route. */
  readonly labels: readonly NonNullable<StreamBehavior['labels']>[];
  /** The limiter of the application, and that of the route if it has one. */
  readonly limiters: readonly StreamLimiter[];
  readonly isDraining: () => boolean;
  /** Matches the parameter of `Accept` that is not negotiated, because it holds the version of a route. */
  readonly versionParameter: RegExp | undefined;
  /** Whether a refused `EventSource` receives 200 and `retry` instead of an error status. */
  readonly refusesWithRetry: boolean;
  /** Whether a browser that navigates to the route gets a page. */
  readonly browser: boolean;
  /** Whether clients can request the route over HTTP. */
  readonly http: boolean;
  /** Accepts upgrades to WebSocket. `undefined` if the route accepts none. */
  readonly websocket: WebSocketPlan | undefined;
  /** The settings of its runs, if its handler is the producer of a run. */
  readonly run: SettingsOfRun | undefined;
}

/** Serves the requests to one route. */
export class StreamPlan {
  /** Starts and joins runs, if the handler is the producer of a run. */
  runs: RunRoute | undefined;
  private settings: StreamSettings;
  /** The settings of streams in a format that decides when chunks are sent. */
  private readonly ofFormat = new Map<StreamFormat, StreamSettings>();
  private readonly only: ChosenFormat | undefined;
  /** The choice for a client that accepts any format. */
  private readonly whenAny: ChosenFormat | 'auto';

  constructor(private readonly parts: PlanParts) {
    const { formats, settings, services, reauthorizer: accessCheck } = parts;
    this.settings = { ...settings, accessCheck, services, hooks: new HookChain([]) };
    const [first] = formats ?? [];
    this.whenAny = first ? chooseFormat(first) : 'auto';
    this.only = first && formats?.length === 1 ? chooseFormat(first) : undefined;
  }

  /** Sets the hooks of the route, once they are resolved. */
  useHooks(hooks: readonly StreamHooks[]): void {
    this.settings = { ...this.settings, hooks: new HookChain(hooks) };
    this.ofFormat.clear();
  }

  /** Returns the settings of a stream in a format, which may decide when chunks are sent. */
  private settingsFor(format: StreamFormat | undefined): StreamSettings {
    const { flush } = format ?? {};
    if (!format || flush === undefined || !this.parts.flushOfFormat) {
      return this.settings;
    }
    let settings = this.ofFormat.get(format);
    if (!settings) {
      settings = { ...this.settings, flush };
      this.ofFormat.set(format, settings);
    }
    return settings;
  }

  /** Whether guards are called again while a stream is open. */
  get reauthorizes(): boolean {
    return this.parts.reauthorizer !== undefined;
  }

  /** Resolves the guards of the option `reauthorize`, if there are any. */
  async resolveGuards(moduleRef: ModuleRef): Promise<void> {
    await this.parts.reauthorizer?.resolve(moduleRef);
  }

  /** Whether the handler is the producer of a run. */
  get producesRuns(): boolean {
    return this.parts.run !== undefined;
  }

  /** Sets where the runs of the route are, if its handler produces runs. */
  useRuns(runs: Runs): void {
    const { run } = this.parts;
    this.runs = run && new RunRoute(runs, this.settings.route, run);
  }

  /** Whether there are hooks that may send chunks although the handler sends none. */
  get hooked(): boolean {
    return this.settings.hooks.having('onOpen').length > 0;
  }

  /** Whether the route accepts upgrades to WebSocket. */
  get webSockets(): boolean {
    return this.parts.websocket !== undefined;
  }

  /** Creates the connection for a request. Throws if the request is refused, for example because its `Accept` matches no format of the route. */
  connect(response: PlatformResponse): LiveConnection {
    const { raw, request, head } = exchangeOn(response);
    const webSocket = this.parts.websocket?.connect(raw, request);
    if (webSocket) {
      const settings = this.settingsFor(this.parts.formats?.[0]);
      return new LiveConnection({ id: ++connections, request, head, settings, ...webSocket });
    }
    if (!this.parts.http) {
      throw upgradeRequired(raw.req, head);
    }
    const navigates = isNavigation(raw.req);
    if (navigates && (this.parts.browser || !this.only)) {
      head.vary('Sec-Fetch-Mode');
    }
    const chosen = navigates && this.parts.browser ? PAGE_FORMAT : (this.only ?? this.negotiate(raw.req, head));
    if (chosen !== 'auto' && chosen.format.status !== undefined && raw.statusCode === this.parts.defaultStatus) {
      head.status(chosen.format.status);
    }
    // With `cancel`, a run would end with the first poll: a server may ignore a preference (RFC 7240 §2).
    const wait = this.parts.run?.onDisconnect === 'cancel' ? undefined : waitOf(raw.req);
    const parts: StreamParts = {
      id: ++connections,
      request,
      transport: this.transportFor(raw, head),
      head,
      settings: chosen === 'auto' ? this.settings : this.settingsFor(chosen.format),
      chosen: chosen === 'auto' ? undefined : chosen,
      lastEventId: this.lastEventIdOf(raw.req),
      shown: navigates && !this.only,
      reconnects:
        this.parts.refusesWithRetry && chosen !== 'auto' && chosen.format === sseFormat && isEventSource(raw.req),
    };
    return new LiveConnection(parts, wait);
  }

  /** Returns the labels that the options give to the stream of a request, or `undefined` if it has none. */
  labelsOf(request: unknown): StreamLabels | undefined {
    let labels = NO_LABELS;
    for (const labelsOf of this.parts.labels) {
      const more = labelsOf(request);
      labels = more === undefined ? labels : addLabels(labels, more, `"labels" of ${this.settings.route}`);
    }
    return labels === NO_LABELS ? undefined : labels;
  }

  /**
   * Returns the limits of the access of a client, or `undefined` if there are none.
   * @throws {HttpException} if it has expired already
   */
  accessOf(request: unknown, response: PlatformResponse | undefined): AccessLimits | undefined {
    const { expiresAt: option, reauthorizer, services } = this.parts;
    const { route } = this.settings;
    const expiresAt = expiryOf(option?.(request), `"expiresAt" of ${route}`);
    if (expiresAt !== undefined && expiresAt <= services.registry.clock.date()) {
      if (expiresAt > 0 && expiresAt < EARLIEST_MS) {
        services.logger.warn(
          `${route}: "expiresAt" has returned ${expiresAt}, a time in 1970. It has to be in milliseconds: multiply the "exp" of a token by 1000`,
        );
      }
      throw services.refusal('expired');
    }
    return expiresAt === undefined && !reauthorizer ? undefined : { expiresAt, response };
  }

  /**
   * Counts a stream, or refuses it.
   * @returns its admission, or `undefined` if its client has received a response that makes it reconnect later
   * @throws {HttpException} the response for any other client
   */
  admit(connection: LiveConnection, labels: StreamLabels | undefined): Admission | undefined {
    const applicant = { request: connection.request, carrier: connection.transport.carrier };
    const { isDraining, limiters } = this.parts;
    if (isDraining()) {
      return this.refuse(connection, CLOSING, this.settings.services.retryDelay());
    }
    // With "reauthorize", its guards decide.
    if (labels && !this.parts.reauthorizer && this.settings.services.registry.refuses(labels)) {
      return this.refuse(connection, JUST_CLOSED, this.settings.services.retryDelay());
    }
    for (const limiter of limiters) {
      const over = limiter.over(applicant);
      if (over) {
        return this.refuse(connection, over, jittered(over.retryAfter));
      }
    }
    return enterAll(limiters, applicant);
  }

  /** Makes an `EventSource` reconnect later instead of responding with 503. Throws for all other clients. */
  private refuse(connection: LiveConnection, refused: OverLimit, retry: number | undefined): undefined {
    connection.header('Retry-After', String(Math.ceil(refused.retryAfter / 1_000)));
    if (refused === CLOSING && connection.protocol === 'http/1.1') {
      // The server is about to close the connection, perhaps while the client sends its next request.
      connection.header('Connection', 'close');
    }
    if (refused.status === 503 && connection.ends.refuseWithRetry({ code: 'server-closed' }, retry)) {
      return undefined;
    }
    throw new HttpException(refused.message, refused.status);
  }

  private transportFor(raw: ServerResponse<IncomingMessage>, head: ResponseHead): Transport {
    const transport = transportOf(raw);
    const { compression } = this.parts;
    if (!compression) {
      return transport;
    }
    head.vary('Accept-Encoding');
    const choice = negotiateCoding(raw.req, compression);
    if (choice === 'identity') {
      return transport;
    }
    if (choice) {
      return new CompressedTransport(transport, raw, choice);
    }
    head.release();
    throw notAcceptable('No encoding', [...compression.encodings, 'identity']);
  }

  private lastEventIdOf(request: IncomingMessage): string | undefined {
    const header = lastEventIdOf(request);
    // A client may open the URL of a run, and reconnect after a chunk of it: the header is newer.
    return this.parts.run && !header ? idInUrl(request) : header;
  }

  private negotiate(request: IncomingMessage, head: ResponseHead): ChosenFormat | 'auto' {
    const { formats = ALL_FORMATS } = this.parts;
    head.vary('Accept');
    const accept = this.acceptOf(request, head);
    const chosen = negotiateFormat(accept, formats, this.whenAny);
    if (chosen) {
      return chosen;
    }
    head.release();
    throw notAcceptable(
      'No format of this stream',
      formats.flatMap(({ mediaTypes }) => mediaTypes),
    );
  }

  /** Returns the media types that the client accepts, without the version of the route. */
  private acceptOf({ headers: { accept } }: IncomingMessage, head: ResponseHead): string | undefined {
    const { versionParameter } = this.parts;
    if (accept !== undefined && accept.length > LONGEST_ACCEPT) {
      head.release();
      // The header is not ignored, since the client might not be able to read the default format.
      throw new HttpException(
        `Accept is longer than ${LONGEST_ACCEPT} characters: send a shorter one`,
        HEADER_TOO_LARGE,
      );
    }
    return versionParameter ? accept?.replace(versionParameter, '') : accept;
  }
}

/** Creates the transport for a response, depending on its version of HTTP. */
function transportOf(response: ServerResponse): Transport {
  return response.req.httpVersionMajor === 2
    ? new Http2Transport(response as unknown as Http2ServerResponse)
    : new Http1Transport(response);
}

/** Returns whether a browser navigates to the stream, for example from its address bar (https://www.w3.org/TR/fetch-metadata/#sec-fetch-mode-header). */
function isNavigation({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers.accept?.includes('text/html') === true;
}

function notAcceptable(what: string, acceptable: readonly string[]): NotAcceptableException {
  return new NotAcceptableException({
    statusCode: HttpStatus.NOT_ACCEPTABLE,
    message: `${what} is acceptable. Available: ${acceptable.join(', ')}`,
    error: 'Not Acceptable',
    acceptable,
  });
}

/** Returns the error of a route that accepts WebSockets only (RFC 9110 §15.5.22). HTTP/2 does not have these headers. */
function upgradeRequired({ httpVersionMajor }: IncomingMessage, head: ResponseHead): HttpException {
  head.release();
  if (httpVersionMajor === 1) {
    head.header('Upgrade', 'websocket');
    head.header('Connection', 'Upgrade');
  }
  return new HttpException('This stream is only available over WebSocket', UPGRADE_REQUIRED);
}
