import type { ServerResponse } from 'node:http';
import { BadRequestException, ForbiddenException } from '@nestjs/common';
import type { StreamFormat } from '../format/format.js';
import { isCustom, messageFormat, PASSTHROUGH_MESSAGES } from '../format/message.formats.js';
import type { ChosenFormat } from '../format/negotiate.js';
import { lastEventIdOf } from '../platform/last-event-id.js';
import { isSameOrigin } from '../platform/same-origin.js';
import { EVENTS_PROTOCOL } from '../transport/websocket/close-codes.js';
import { type WebSocketParts, WebSocketTransport } from '../transport/websocket/transport.js';
import { upgradeOf } from '../transport/websocket/upgrade.js';
import type { QueueLimits } from '../util/queue-limits.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { syncResult } from '../util/thenable.js';
import { requestedId, wantsHeartbeats } from './handshake.js';

/** The options for WebSockets of an application, with all defaults filled in. */
export interface WebSocketSettings {
  /** The origins of other sites whose pages may open a WebSocket. */
  readonly origins: '*' | readonly string[] | ((origin: string, request: unknown) => boolean);
  readonly maxPayload: number;
  readonly maxFragments: number;
  readonly messages: QueueLimits;
}

/** The parts of a stream that are specific to WebSockets. */
interface WebSocketConnectionParts {
  readonly transport: WebSocketTransport;
  readonly chosen: ChosenFormat;
  readonly passthrough: ChosenFormat;
  readonly lastEventId: string | undefined;
}

function formatOf(format: StreamFormat): ChosenFormat {
  return { format, contentType: undefined };
}

/** Accepts the WebSockets of a route. */
export class WebSocketPlan {
  /** One object for all connections: closures for each connection would take memory as long as it is open. */
  private readonly parts: WebSocketParts;

  constructor(
    private readonly settings: WebSocketSettings,
    /** The first format of the route; `undefined` if it offers all. */
    private readonly format: StreamFormat | undefined,
    route: string,
    logger: StreamLogger,
  ) {
    const { messages, maxPayload, maxFragments } = settings;
    this.parts = {
      messages,
      limits: { maxPayload, maxFragments },
      note: (message) => logger.debug(`${route} ${message}`),
      warn: (message) => logger.warn(`${route} ${message}`),
    };
  }

  /**
   * Creates the parts of a stream for an upgrade. Returns `undefined` if the request is no upgrade.
   * @param request the request object of the platform
   * @throws {HttpException} if the upgrade is refused
   */
  connect(response: ServerResponse, request: unknown): WebSocketConnectionParts | undefined {
    const upgrade = upgradeOf(response);
    if (!upgrade) {
      return undefined;
    }
    const events = upgrade.protocol === EVENTS_PROTOCOL;
    this.checkOrigin(upgrade.request.headers.origin, request);
    if (events && isCustom(this.format)) {
      throw new BadRequestException(`${EVENTS_PROTOCOL} is not possible here: the format is ${this.format?.name}`);
    }
    return {
      transport: new WebSocketTransport(upgrade, this.parts, events && wantsHeartbeats(upgrade.request)),
      chosen: formatOf(messageFormat(this.format, events)),
      passthrough: formatOf(PASSTHROUGH_MESSAGES),
      lastEventId: lastEventIdOf(upgrade.request, requestedId(upgrade.request)),
    };
  }

  /** Browsers send cookies with the WebSockets of every page, without a preflight (RFC 6455 §10.2): any site could act with the cookies of its visitors. */
  private checkOrigin(origin: string | undefined, request: unknown): void {
    const { origins } = this.settings;
    if (origins === '*' || isSameOrigin(request)) {
      return;
    }
    const allowed =
      origin !== undefined &&
      (typeof origins === 'function'
        ? syncResult(origins(origin, request), '"websocket.origins"') === true
        : origins.includes(origin));
    if (!allowed) {
      throw new ForbiddenException(`WebSockets are not open to pages of ${origin ?? 'other origins'}`);
    }
  }
}
