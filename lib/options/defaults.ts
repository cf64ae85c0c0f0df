import { CONTENT_CODINGS } from '../transport/compression/encoders.js';
import type { StreamingModuleOptions, WebSocketOptions } from './streaming.options.js';

/** The defaults of all options, with the same nesting as the options. */
export const DEFAULTS = {
  flush: 'auto',
  openDelay: 1_000,
  heartbeat: 15_000,
  sendTimeout: 30_000,
  maxDuration: false,
  queue: { items: 65_536, bytes: 4 * 1024 * 1024 },
  overflow: 'disconnect',
  errorEvent: 'error',
  compression: { encodings: CONTENT_CODINGS, threshold: 1_024 },
  browser: false,
  limits: { perConnection: 1_000, retryAfter: 5_000 },
  websocket: {
    origins: [],
    maxPayload: 65_536,
    maxFragments: 256,
    messages: { items: 64, bytes: 65_536 },
  },
  refusal: 'retry',
  shutdown: { grace: 5_000, retry: 3_000 },
} as const satisfies StreamingModuleOptions;

/** Returns the options without those that are `undefined`, which count as left out. */
export function given<T extends object>(options: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Returns the options of WebSockets with their defaults. */
export function completeWebSocketOptions({ messages, ...options }: WebSocketOptions) {
  const { messages: byDefault, ...defaults } = DEFAULTS.websocket;
  return { ...defaults, ...given(options), messages: { ...byDefault, ...given(messages) } };
}
