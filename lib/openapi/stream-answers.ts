import type { ApiHeaderOptions, ApiResponseOptions } from '@nestjs/swagger';
import type { StreamLimits } from '../options/streaming.options.js';
import type { SchemaObject } from './swagger.js';

/** The settings that determine with which errors a route may respond. */
export interface Refusals {
  readonly negotiated: boolean;
  /** The limits of the application and those of the route. */
  readonly limits: readonly StreamLimits[];
}

const RETRY_AFTER = {
  'Retry-After': {
    description: 'The number of seconds after which to try again',
    schema: { type: 'integer', minimum: 1 },
  },
};

export const LAST_EVENT_ID: ApiHeaderOptions = {
  name: 'Last-Event-ID',
  description: 'The id of the last event that the client received: the stream continues after it',
  required: false,
};

/** The header that asks for a long poll (RFC 7240 §4.3). */
export const PREFER: ApiHeaderOptions = {
  name: 'Prefer',
  description:
    '`wait=N`: responds with the events after `Last-Event-ID`, waits up to N seconds for one if there is none, and ends',
  required: false,
};

export const NOTHING_NEW: ApiResponseOptions & { status: number } = {
  status: 204,
  description: 'With `Prefer: wait=N`: there was no event in this time',
  headers: {
    'Last-Event-ID': { description: 'The id after which the next poll continues', schema: { type: 'string' } },
  },
};

/** The header of a response with the chunks of a run. */
export const JOINING_URL = {
  'Content-Location': {
    description: 'A URL at which the run can be joined from its start, with the same method',
    schema: { type: 'string' as const, format: 'uri-reference' },
  },
};

export const RUN_OVER: ApiResponseOptions & { status: number } = {
  status: 204,
  description: 'There is no run with this `Last-Event-ID`, or it is over, and the client has received all of it',
};

/** The response of a route that only accepts WebSockets (RFC 6455 §4.2.2). */
export const SWITCHING: ApiResponseOptions & { status: number } = {
  status: 101,
  description: 'A WebSocket, whose messages are the chunks',
};

/** Returns the description of a response of Nest's own exception filter. */
function answer(
  status: number,
  description: string,
  more: Pick<ApiResponseOptions, 'headers'> = {},
  properties: Record<string, SchemaObject> = {},
): ApiResponseOptions & { status: number } {
  return {
    status,
    description,
    ...more,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['statusCode', 'message', ...Object.keys(properties)],
          properties: {
            statusCode: { type: 'integer', enum: [status] },
            message: { type: 'string' },
            error: { type: 'string' },
            ...properties,
          },
        },
      },
    },
  };
}

/** Returns the responses of this package that a route may send instead of a stream. */
export function refusalsOf({ negotiated, limits }: Refusals): (ApiResponseOptions & { status: number })[] {
  const full = limits.some(({ connections }) => connections !== undefined);
  const acceptable: SchemaObject = { type: 'array', items: { type: 'string' } };
  return [
    ...(negotiated ? [answer(406, 'The `Accept` header names no format of the stream', {}, { acceptable })] : []),
    ...(limits.some(({ perClient, perConnection }) => perClient ?? perConnection)
      ? [answer(429, 'The client has too many streams open', { headers: RETRY_AFTER })]
      : []),
    answer(503, full ? 'All streams are in use, or the server is shutting down' : 'The server is shutting down', {
      headers: RETRY_AFTER,
    }),
  ];
}

/** The response over HTTP of a route that only accepts WebSockets. */
export const UPGRADE_REQUIRED = answer(426, 'The stream is only available over WebSocket');
