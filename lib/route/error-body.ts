import { STATUS_CODES } from 'node:http';
import { HttpException, HttpStatus } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import type { StreamErrorBody } from '../format/format.js';
import { jsonText } from '../format/json-text.js';

const UNKNOWN: StreamErrorBody = { statusCode: HttpStatus.INTERNAL_SERVER_ERROR, message: 'Internal server error' };
const nest = new BaseExceptionFilter();

/**
 * Returns the body of an error record: the same as Nest's own exception filter would send. If the methods of the error throw, or return values
 * without a JSON form, the result is that of an internal server error.
 */
export function describeError(error: unknown): StreamErrorBody {
  try {
    const body = describe(error);
    jsonText(body);
    return Number.isInteger(body.statusCode) ? body : UNKNOWN;
  } catch {
    return UNKNOWN;
  }
}

function describe(error: unknown): StreamErrorBody {
  if (error instanceof HttpException) {
    return describeHttpException(error);
  }
  if (nest.isHttpError(error)) {
    const { statusCode, message } = error;
    const hidden = 'expose' in error && error.expose === false;
    return { statusCode, message: hidden ? (STATUS_CODES[statusCode] ?? UNKNOWN.message) : message };
  }
  return UNKNOWN;
}

function describeHttpException(error: HttpException): StreamErrorBody {
  const statusCode = error.getStatus();
  const response = error.getResponse();
  if (response instanceof Error) {
    return { statusCode, message: STATUS_CODES[statusCode] ?? 'Error' };
  }
  return typeof response === 'object'
    ? { statusCode, message: error.message, ...response }
    : { statusCode, message: response };
}
