import type { StreamErrorBody } from '../format/format.js';
import { jsonText } from '../format/json-text.js';
import { messageOf } from '../util/close-reason.js';
import { isError } from '../util/error-text.js';
import type { StreamCloseCode, StreamCloseError, StreamError } from '../util/errors.js';

/** Why an answer is not complete, with no more than Nest's own exception filter would tell a client. */
export interface Failure {
  /** The HTTP status that an exception filter would respond with. */
  readonly status: number;
  readonly message: string;
  /** The `code` of the exception's body, of an error of this package, or of the end of the stream. `null` if there is none. */
  readonly code: string | null;
  /** The `param` of the exception's body: the field of the request that is wrong. `null` if there is none. */
  readonly param: string | null;
  /** Whether somebody stopped the answer, and it did not fail. */
  readonly stopped: boolean;
}

/** The code of the `StreamError` with which the viewers of a run fail that was stopped. */
const RUN_STOPPED = 'run-stopped';

const STATUS: Readonly<Partial<Record<StreamCloseCode, number>>> = { shutdown: 503, deadline: 504 };

/** Returns the failure for an error, given the description of the error for clients. */
export function failureOf(
  { statusCode: status, message, code: given, param }: StreamErrorBody,
  error: unknown,
): Failure {
  const code = stringIn(given) ?? codeOf(error);
  const stopped = code === RUN_STOPPED && isError(error) && isWanted(error.cause);
  return { status, message: textIn(message), code, param: stringIn(param), stopped };
}

/** Returns whether somebody wanted a run to be stopped. If its process closes, or its time is over, nobody did. */
function isWanted(cause: unknown): boolean {
  return isError(cause) && (cause as Partial<StreamCloseError>).code === 'stopped';
}

/** Returns the code of an error of this package that clients may know, such as that of a run that was stopped. */
function codeOf(error: unknown): string | null {
  // Not by its class: the application may have loaded both builds of the package.
  const { name, expose, code } = isError(error) ? (error as Partial<StreamError> & { expose?: unknown }) : {};
  return name === 'StreamError' && expose === true ? (code ?? null) : null;
}

/** Returns the failure for a stream that the server stops. Returns `undefined` if it is complete. */
export function failureOfClose(code: StreamCloseCode): Failure | undefined {
  // Only a close through the registry is what somebody wanted. After the others, half of an answer must not look like all of it.
  const stopped = code === 'server-closed';
  return code === 'completed'
    ? undefined
    : { status: STATUS[code] ?? 500, message: messageOf(code), code, param: null, stopped };
}

/** Returns the message of a body, which is a list if it comes from `ValidationPipe`. */
function textIn(message: unknown): string {
  if (Array.isArray(message)) {
    return message.map(textIn).join(', ');
  }
  return typeof message === 'string' ? message : jsonText(message);
}

function stringIn(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
