import { HttpStatus, RequestMethod } from '@nestjs/common';
import type { StreamServices, StreamSettings } from '../connection/stream-settings.js';
import type { StreamFormat } from '../format/format.js';
import { FORMATS } from '../format/formats.js';
import { byFirstChunk, type FormatOfChunk } from '../format/negotiate.js';
import { DEFAULTS, given } from '../options/defaults.js';
import type { StreamBehavior } from '../options/streaming.options.js';
import type { CompressionSettings } from '../transport/compression/content-coding.js';
import { hasEncoder } from '../transport/compression/encoders.js';
import { StreamError } from '../util/errors.js';
import type { QueueLimits } from '../util/queue-limits.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { WebSocketPlan } from '../websocket/websocket-plan.js';
import { StreamLimiter } from './limiter.js';
import { type CheckedRoute, Reauthorizer } from './reauthorizer.js';
import type { RouteContext } from './route-context.js';
import type { StreamMark } from './route-metadata.js';
import type { PlanParts } from './route-plan.js';

interface MappedRoute extends CheckedRoute {
  /** The HTTP method of the route. */
  readonly method: RequestMethod | undefined;
  /** Whether `@HttpCode()` sets its status. */
  readonly hasStatus: boolean;
}

/** Merges the options of a route with those of the application and the defaults, in this order of precedence. */
export function planSettings(context: RouteContext, mark: StreamMark, route: MappedRoute): PlanParts {
  const { decorator, options } = mark;
  const { options: application, services, limiter, versionParameter } = context;
  const merged: StreamBehavior = { ...application, ...given(options) };
  const formats = formatsOf(merged.format);
  const where = `@${decorator}() of ${route.route}`;
  if (decorator === 'Sse' && formats?.some(({ name }) => name !== 'sse')) {
    throw new StreamError('invalid-option', `${where}: "format" is sse. For other formats use @Stream()`);
  }
  const { http, websocket } = protocolsOf(context, options, route.method, where);
  if (!websocket) {
    refuseUseless(options, formats, where);
  }
  refuseShape(options, formats, where);
  const settings = settingsOf(merged, route.route, formats, services);
  return {
    settings: {
      ...settings,
      heartbeatOfRoute: typeof options.heartbeat === 'number',
      queue: queueOf(application, options),
    },
    reauthorizer: reauthorizerOf(merged, route, services),
    expiresAt: merged.expiresAt,
    services,
    formats,
    flushOfFormat: merged.flush === undefined,
    defaultStatus: defaultStatusOf(route),
    compression: compressionOf(application.compression, options.compression, services.logger),
    labels: [application.labels, options.labels].filter((each) => each !== undefined),
    limiters: options.limits ? [limiter, new StreamLimiter(options.limits)] : [limiter],
    isDraining: () => context.isDraining(),
    versionParameter,
    browser: merged.browser ?? DEFAULTS.browser,
    refusesWithRetry: (application.refusal ?? DEFAULTS.refusal) === 'retry',
    http,
    run: runOf(mark, settings.events, where),
    websocket: websocket && new WebSocketPlan(websocket, formats?.[0], route.route, services.logger),
  };
}

function settingsOf(
  merged: StreamBehavior,
  route: string,
  formats: readonly StreamFormat[] | undefined,
  services: StreamServices,
) {
  return {
    route,
    ...durationsOf(merged, services),
    namesFormat: formats !== undefined,
    formatOfChunk: formatOfChunk(route, services.logger),
    flush: merged.flush ?? DEFAULTS.flush,
    overflow: merged.overflow ?? DEFAULTS.overflow,
    errorEvent: merged.errorEvent ?? DEFAULTS.errorEvent,
    dropped: new Set<string>(),
    events: eventsOf(merged.events, formats),
  };
}

/** Returns the object that checks the access of the clients of a route again, or `undefined`. */
function reauthorizerOf(
  { reauthorize }: StreamBehavior,
  route: CheckedRoute,
  { registry, logger }: StreamServices,
): Reauthorizer | undefined {
  if (!reauthorize) {
    return undefined;
  }
  registry.clock.observe(reauthorize.every);
  return new Reauthorizer(reauthorize, route, logger, () => registry.clock.now());
}

/** Returns the settings of the runs of a route, if its handler is the producer of a run. */
function runOf({ options, parameters }: StreamMark, events: StreamSettings['events'], where: string) {
  const { onDisconnect } = options;
  if (onDisconnect === undefined) {
    return undefined;
  }
  for (const { kind } of parameters) {
    if (kind === 'connection') {
      throw new StreamError(
        'invalid-route',
        `${where} has "onDisconnect", and injects @ConnectedStream(): a run outlives its clients, and has no connection. Return what is to be sent, and inject @StreamSignal()`,
      );
    }
    if (kind === 'last-event-id') {
      throw new StreamError(
        'invalid-route',
        `${where} has "onDisconnect", and injects @LastEventId(): a client that sends one joins its run, and the method is not called. Remove the parameter`,
      );
    }
  }
  return { onDisconnect, events };
}

/** Returns a function that chooses the format of a stream by its first chunk, and warns once if a later chunk does not fit in that format. */
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

/** Returns which chunks are events. By default, objects that look like Nest's `MessageEvent` are events if the route has a single format and it has fields, such as SSE. */
function eventsOf(
  events: StreamBehavior['events'],
  formats: readonly StreamFormat[] | undefined,
): StreamSettings['events'] {
  if (formats?.some((format) => format.events === false)) {
    return 'explicit';
  }
  return events ?? (formats?.length === 1 && formats[0]?.fields ? 'shape' : 'explicit');
}

/** Refuses `events: 'shape'` for a format whose objects are always data. */
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

/** Returns the status that Nest gives a route by its HTTP method, or `undefined` if `@HttpCode()` sets one, which no format may replace. */
function defaultStatusOf({ method, hasStatus }: MappedRoute): number | undefined {
  if (hasStatus) {
    return undefined;
  }
  return method === RequestMethod.POST ? HttpStatus.CREATED : HttpStatus.OK;
}

/** Returns the durations of a route, and informs the clock of the streams, which ticks often enough for the shortest one. */
function durationsOf(options: StreamBehavior, { registry }: StreamServices) {
  const durations = {
    openDelay: options.openDelay === 'first-chunk' ? Infinity : (options.openDelay ?? DEFAULTS.openDelay),
    heartbeat: milliseconds(options.heartbeat, DEFAULTS.heartbeat),
    sendTimeout: milliseconds(options.sendTimeout, DEFAULTS.sendTimeout),
    maxDuration: milliseconds(options.maxDuration, DEFAULTS.maxDuration),
  };
  for (const duration of Object.values(durations).filter((each) => each > 0)) {
    registry.clock.observe(duration);
  }
  return durations;
}

function queueOf(application: StreamBehavior, options: StreamMark['options']): QueueLimits {
  return {
    ...DEFAULTS.queue,
    ...given(application.queue),
    ...pendingLimits(options.maxPendingDataLength),
    ...given(options.queue),
  };
}

/** Returns the protocols over which clients can request a route. A WebSocket is opened with GET. */
function protocolsOf(
  { websocket }: RouteContext,
  { protocols }: StreamMark['options'],
  method: RequestMethod | undefined,
  where: string,
): { readonly http: boolean; readonly websocket: RouteContext['websocket'] } {
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

/** Returns the formats that a route offers, or `undefined` if it offers all, so that for a wildcard the first chunk decides. */
export function formatsOf(format: StreamBehavior['format']): readonly StreamFormat[] | undefined {
  if (format === undefined) {
    return undefined;
  }
  const list = Array.isArray(format)
    ? (format as readonly (keyof typeof FORMATS | StreamFormat)[])
    : [format as keyof typeof FORMATS | StreamFormat];
  return list.map((each) => (typeof each === 'string' ? FORMATS[each] : each));
}

/** Returns the limits for `maxPendingDataLength`. As in Nest's own `@Sse()`, 0 and Infinity mean no limit. */
function pendingLimits(length: number | undefined): StreamBehavior['queue'] {
  if (length === undefined) {
    return {};
  }
  return length === 0 || length === Infinity ? { items: Infinity, bytes: Infinity } : { bytes: length };
}

/** The lists of encodings for which a warning was logged, because this version of Node.js has none of them. */
const useless = new WeakSet<object>();

/** Merges the compression options of a route with those of the application and the defaults, and leaves out encodings that this version of Node.js lacks. */
function compressionOf(
  application: StreamBehavior['compression'],
  route: StreamBehavior['compression'],
  logger: StreamLogger,
): CompressionSettings | undefined {
  if (!(route ?? application)) {
    return undefined;
  }
  const wanted: CompressionSettings = { ...DEFAULTS.compression, ...givenObject(application), ...givenObject(route) };
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

function milliseconds(option: number | false | undefined, byDefault: number | false): number {
  const value = option ?? byDefault;
  return value === false ? Infinity : value;
}

/** Refuses options of a route that have no effect in any of its formats. */
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
