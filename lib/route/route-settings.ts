import { HttpStatus, RequestMethod } from '@nestjs/common';
import type { StreamLogger } from '../connection/stream-settings.js';
import { StreamError } from '../errors.js';
import type { EventsMode } from '../event/event.js';
import type { StreamFormat } from '../format/format.js';
import { FORMATS } from '../format/formats.js';
import { byFirstChunk, type FormatOfChunk } from '../format/negotiate.js';
import type { StreamingRuntime } from '../module/streaming.runtime.js';
import { DEFAULTS, type StreamBehavior } from '../options/streaming.options.js';
import type { CompressionSettings } from '../transport/compression/content-coding.js';
import { CONTENT_CODINGS, hasEncoder } from '../transport/compression/encoders.js';
import type { QueueLimits } from '../util/queue-limits.js';
import { WebSocketPlan } from '../websocket/websocket-plan.js';
import { StreamLimiter } from './limiter.js';
import type { StreamMark } from './route-metadata.js';
import type { PlanParts } from './route-plan.js';

const COMPRESSION: CompressionSettings = { encodings: CONTENT_CODINGS, threshold: DEFAULTS.threshold };

interface MappedRoute {
  /** `Class.method` */
  readonly route: string;
  /** What it is mapped with. */
  readonly method: RequestMethod | undefined;
  /** Whether `@HttpCode()` names its status. */
  readonly hasStatus: boolean;
}

/** The options of a route over those of the application over the defaults. */
export function planSettings(runtime: StreamingRuntime, mark: StreamMark, route: MappedRoute): PlanParts {
  const { decorator, options } = mark;
  const application = runtime.options;
  const merged: StreamBehavior = { ...application, ...given(options) };
  const formats = formatsOf(merged.format);
  if (decorator === 'Sse' && formats?.some(({ name }) => name !== 'sse')) {
    throw new StreamError('invalid-option', `@Sse() of ${route.route}: "format" is sse. For others use @Stream()`);
  }
  const { method } = route;
  const where = `@${decorator}() of ${route.route}`;
  const { http, websocket } = protocolsOf(runtime, options, method, where);
  if (!websocket) {
    refuseUseless(options, formats, where);
  }
  refuseShape(options, formats, where);
  return {
    settings: {
      route: route.route,
      ...durationsOf(merged, runtime),
      namesFormat: formats !== undefined,
      formatOfChunk: formatOfChunk(route.route, runtime.services.logger),
      heartbeatOfRoute: typeof options.heartbeat === 'number',
      flush: merged.flush ?? 'auto',
      queue: queueOf(application, options),
      overflow: merged.overflow ?? 'disconnect',
      errorEvent: merged.errorEvent ?? 'error',
      dropped: new Set(),
      events: eventsOf(merged.events, formats),
    },
    services: runtime.services,
    formats,
    defaultStatus: defaultStatusOf(route),
    compression: compressionOf(application.compression, options.compression, runtime.services.logger),
    limiters: [runtime.limiter, options.limits && new StreamLimiter(options.limits)].filter(
      (each) => each !== undefined,
    ),
    isDraining: runtime.isDraining,
    versionParameter: runtime.versionParameter,
    browser: merged.browser === true,
    refusesWithRetry: application.refusal !== 'status',
    http,
    websocket: websocket && new WebSocketPlan(websocket.options, formats?.[0], route.route, runtime.services.logger),
  };
}

/** Picks the format of a stream by its first chunk, and warns once where a later one does not fit. */
function formatOfChunk(route: string, logger: StreamLogger): FormatOfChunk {
  let warned = false;
  return byFirstChunk((format) => {
    if (!warned) {
      warned = true;
      logger.warn(
        `${route}: an object was sent in a stream of ${format}, which the first chunk chose: clients cannot tell where it begins and ends. Name a format, such as { format: 'ndjson' }`,
      );
    }
  });
}

/** Which chunks are events. On a route of one format with fields, such as SSE, those too that look like Nest's `MessageEvent`. */
function eventsOf(events: StreamBehavior['events'], formats: readonly StreamFormat[] | undefined): EventsMode {
  if (formats?.some((format) => format.events === false)) {
    return 'explicit';
  }
  return events ?? (formats?.length === 1 && formats[0]?.fields ? 'shape' : 'explicit');
}

/** Refuses to take the objects for events which a format wants as data. */
function refuseShape(
  options: StreamMark['options'],
  formats: readonly StreamFormat[] | undefined,
  where: string,
): void {
  const format = formats?.find(({ events }) => events === false);
  if (format && options.events === 'shape') {
    throw new StreamError(
      'invalid-option',
      `${where}: "events" is "shape", but the format ${format.name} has "events: false": make events with event()`,
    );
  }
}

/** The status that Nest gives a route by its method. `undefined`: the route names its own, which no format may change. */
function defaultStatusOf({ method, hasStatus }: MappedRoute): number | undefined {
  if (hasStatus) {
    return undefined;
  }
  return method === RequestMethod.POST ? HttpStatus.CREATED : HttpStatus.OK;
}

/** The durations of a route, which the clock is made fine enough for. */
function durationsOf(options: StreamBehavior, { registry }: StreamingRuntime) {
  const durations = {
    openDelay: options.openDelay === 'first-chunk' ? Infinity : (options.openDelay ?? DEFAULTS.openDelay),
    heartbeat: milliseconds(options.heartbeat, DEFAULTS.heartbeat),
    sendTimeout: milliseconds(options.sendTimeout, DEFAULTS.sendTimeout),
    maxDuration: milliseconds(options.maxDuration, DEFAULTS.maxDuration),
  };
  for (const duration of Object.values(durations).filter((each) => each > 0)) {
    registry.observe(duration);
  }
  return durations;
}

function queueOf(application: StreamBehavior, options: StreamMark['options']): QueueLimits {
  return {
    items: DEFAULTS.items,
    bytes: DEFAULTS.bytes,
    ...given(application.queue),
    ...pendingLimits(options.maxPendingDataLength),
    ...given(options.queue),
  };
}

/** What a route can be asked for over. WebSockets are opened with GET. */
function protocolsOf(
  { websocket }: StreamingRuntime,
  { protocols }: StreamMark['options'],
  method: RequestMethod | undefined,
  where: string,
): { readonly http: boolean; readonly websocket: StreamingRuntime['websocket'] } {
  const list = protocols === undefined ? undefined : [protocols].flat();
  const opens = method === RequestMethod.GET || method === RequestMethod.ALL;
  if (list?.includes('websocket') && !websocket) {
    throw new StreamError('invalid-option', `${where}: "protocols" needs StreamingModule.forRoot({ websocket: true })`);
  }
  if (list?.includes('websocket') && !opens) {
    throw new StreamError('invalid-option', `${where}: "protocols": a WebSocket is opened with GET: map it with GET`);
  }
  return {
    http: list?.includes('http') ?? true,
    websocket: (list?.includes('websocket') ?? opens) ? websocket : undefined,
  };
}

/** The formats a route offers. Nothing: all, as the first chunk has it. */
export function formatsOf(format: StreamBehavior['format']): readonly StreamFormat[] | undefined {
  if (format === undefined) {
    return undefined;
  }
  const list = Array.isArray(format)
    ? (format as readonly (keyof typeof FORMATS | StreamFormat)[])
    : [format as keyof typeof FORMATS | StreamFormat];
  return list.map((each) => (typeof each === 'string' ? FORMATS[each] : each));
}

/** As in Nest's own `@Sse()`: a limit of 0 or Infinity is none. */
function pendingLimits(length: number | undefined): StreamBehavior['queue'] {
  if (length === undefined) {
    return {};
  }
  return length === 0 || length === Infinity ? { items: Infinity, bytes: Infinity } : { bytes: length };
}

/** Lists of encodings of which this Node.js has none. The log has named them already. */
const useless = new WeakSet<object>();

/** The compression of a route over that of the application over the defaults, without encodings that this Node.js does not have. */
function compressionOf(
  application: StreamBehavior['compression'],
  route: StreamBehavior['compression'],
  logger: StreamLogger,
): CompressionSettings | undefined {
  if (!(route ?? application)) {
    return undefined;
  }
  const wanted: CompressionSettings = { ...COMPRESSION, ...givenObject(application), ...givenObject(route) };
  const encodings = wanted.encodings.filter(hasEncoder);
  if (encodings.length > 0) {
    return { encodings, threshold: wanted.threshold };
  }
  if (!useless.has(wanted.encodings)) {
    useless.add(wanted.encodings);
    logger.warn(
      `Nothing is compressed with ${wanted.encodings.join(', ')}: Node.js ${process.version} does not have it. Add "gzip" to the encodings`,
    );
  }
  return undefined;
}

function givenObject<T extends object>(options: T | boolean | undefined): Partial<T> {
  return typeof options === 'object' ? given(options) : {};
}

/** Without what is undefined: that is as if it had not been given. */
function given<T extends object>(options: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function milliseconds(given: number | false | undefined, byDefault: number | false): number {
  const value = given ?? byDefault;
  return value === false ? Infinity : value;
}

/** Refuses options of a route that its formats have no use for. */
function refuseUseless(
  options: StreamMark['options'],
  formats: readonly StreamFormat[] | undefined,
  where: string,
): void {
  const names = formats?.map(({ name }) => name).join(', ');
  if (
    typeof options.heartbeat === 'number' &&
    formats?.every(({ heartbeat }) => heartbeat === undefined || heartbeat === false)
  ) {
    throw new StreamError('invalid-option', `${where}: "heartbeat" contradicts "format", as ${names} has no heartbeat`);
  }
  if (options.events === 'shape' && formats?.every(({ fields }) => !fields)) {
    throw new StreamError('invalid-option', `${where}: "events" contradicts "format", as ${names} has no events`);
  }
  if (options.errorEvent !== undefined && formats?.every(({ fields }) => !fields)) {
    throw new StreamError('invalid-option', `${where}: "errorEvent" contradicts "format", as ${names} has no events`);
  }
}
