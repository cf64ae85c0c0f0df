import { BadRequestException, ForbiddenException } from '@nestjs/common';
import type { StreamLogger } from '../connection/stream-settings.js';
import type { StreamFormat } from '../format/format.js';
import { isCustom, messageFormat, PASSTHROUGH_MESSAGES } from '../format/message.formats.js';
import type { ChosenFormat } from '../format/negotiate.js';
import { DEFAULTS, type WebSocketOptions } from '../options/streaming.options.js';
import { lastEventIdOf } from '../platform/last-event-id.js';
import { isSameOrigin } from '../platform/same-origin.js';
import { type WebSocketParts, WebSocketTransport } from '../transport/websocket/transport.js';
import type { Upgrade } from '../transport/websocket/upgrade.js';
import { answered } from '../util/thenable.js';
import { EVENTS_PROTOCOL, requestedId } from './handshake.js';

/** What a connection is made of that is a WebSocket. */
interface WebSocketConnectionParts {
  readonly transport: WebSocketTransport;
  readonly chosen: ChosenFormat;
  readonly passthrough: ChosenFormat;
  readonly lastEventId: string | undefined;
}

function formatOf(format: StreamFormat): ChosenFormat {
  return { format, contentType: undefined };
}

/** How WebSockets of a route are served. */
export class WebSocketPlan {
  /** One for all: closures of each connection would live as long as it. */
  private readonly parts: WebSocketParts;

  constructor(
    private readonly options: WebSocketOptions,
    /** The first of the route. Nothing: all. */
    private readonly format: StreamFormat | undefined,
    route: string,
    private readonly logger: StreamLogger,
  ) {
    const { messages, maxPayload = DEFAULTS.maxPayload, maxFragments = DEFAULTS.maxFragments } = options;
    this.parts = {
      messages: { items: messages?.items ?? DEFAULTS.messages, bytes: messages?.bytes ?? DEFAULTS.messageBytes },
      limits: { maxPayload, maxFragments },
      note: (message) => logger.debug(`${route} ${message}`),
      warn: (message) => logger.warn(`${route} ${message}`),
    };
  }

  /**
   * Makes the parts for an upgrade, or refuses it.
   * @param request the platform's
   */
  connect(upgrade: Upgrade, request: unknown): WebSocketConnectionParts {
    const events = upgrade.protocol === EVENTS_PROTOCOL;
    this.checkOrigin(upgrade.request.headers.origin, request);
    if (events && isCustom(this.format)) {
      throw new BadRequestException(`${EVENTS_PROTOCOL} is not possible here: the format is ${this.format?.name}`);
    }
    return {
      transport: new WebSocketTransport(upgrade, this.parts),
      chosen: formatOf(messageFormat(this.format, events)),
      passthrough: formatOf(PASSTHROUGH_MESSAGES),
      lastEventId: lastEventIdOf(upgrade.request, this.logger, requestedId(upgrade.request)),
    };
  }

  /** Browsers send cookies with a WebSocket of any page, and do not ask (RFC 6455 §10.2): without this, every page could use those of its reader. */
  private checkOrigin(origin: string | undefined, request: unknown): void {
    const { origins = [] } = this.options;
    if (origins === '*' || isSameOrigin(request)) {
      return;
    }
    const allowed =
      origin !== undefined &&
      (typeof origins === 'function'
        ? answered(origins(origin, request), '"websocket.origins"') === true
        : origins.includes(origin));
    if (!allowed) {
      throw new ForbiddenException(`WebSockets are not open to pages of ${origin ?? 'other origins'}`);
    }
  }
}
