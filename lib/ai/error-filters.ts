import { type ArgumentsHost, Catch, type ExceptionFilter, type HttpServer } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { describeError } from '../route/error-body.js';
import { type Failure, failureOf } from './failure.js';
import { anthropicError } from './messages.format.js';
import { openAiError } from './openai.formats.js';

/** The methods of a response that Express and Fastify have in common, and those that say whether its head was sent. */
interface Reply {
  readonly sent?: boolean;
  readonly headersSent?: boolean;
  readonly raw?: { readonly headersSent: boolean; end(): unknown };
  status(code: number): Reply;
  header(name: string, value: string): Reply;
  send(body: string): unknown;
  end?(): unknown;
}

interface Shape {
  readonly type: string;
  body(failure: Failure): string;
}

const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * Responds to an exception as Nest's own filter does, but with another body. That filter writes the log, and ends a response whose head was sent.
 */
function respond(exception: unknown, host: ArgumentsHost, shape: Shape): void {
  if (host.getType() !== 'http') {
    // A resolver, a gateway or a microservice has no HTTP response. As a filter of the application, this one is called for them too.
    throw exception;
  }
  const failure = failureOf(describeError(exception), exception);
  const server: Pick<HttpServer<unknown, Reply>, 'isHeadersSent' | 'reply' | 'end'> = {
    // `sent` of Fastify is not about a head that was written to `raw`.
    isHeadersSent: ({ sent, headersSent, raw }: Reply) => sent || raw?.headersSent || headersSent || false,
    reply: (reply: Reply) => reply.status(failure.status).header('Content-Type', shape.type).send(shape.body(failure)),
    end: (reply: Reply) => (reply.raw ?? reply).end?.(),
  };
  new BaseExceptionFilter(server as HttpServer).catch(exception, host);
}

/**
 * Exception filter for routes in the format {@link chatCompletions} or {@link responses}: errors before the first chunk have the body
 * `{ "error": { message, type, code, param } }`. Status and headers are those of Nest's own filter, and so is the message, which exposes nothing
 * of unknown errors. `code` and `param` are taken from the body of the exception.
 *
 * @example
 * ```ts
 * @UseFilters(OpenAiErrorFilter)
 * ```
 */
@Catch()
export class OpenAiErrorFilter implements ExceptionFilter {
  catch(exception: unknown, host: ArgumentsHost): void {
    respond(exception, host, { type: JSON_TYPE, body: (failure) => JSON.stringify(openAiError(failure)) });
  }
}

/**
 * Exception filter for routes in the format {@link messages}: errors before the first chunk have the body
 * `{ "type": "error", "error": { type, message } }`. Status and headers are those of Nest's own filter, and so is the message, which exposes
 * nothing of unknown errors.
 */
@Catch()
export class AnthropicErrorFilter implements ExceptionFilter {
  catch(exception: unknown, host: ArgumentsHost): void {
    respond(exception, host, { type: JSON_TYPE, body: (failure) => JSON.stringify(anthropicError(failure)) });
  }
}

/**
 * Exception filter for routes in the format {@link uiMessages} or {@link agUi}, whose clients show the body of an error response as it is: the body
 * is the message, as text. Status, headers and message are those of Nest's own filter, which exposes nothing of unknown errors.
 */
@Catch()
export class TextErrorFilter implements ExceptionFilter {
  catch(exception: unknown, host: ArgumentsHost): void {
    respond(exception, host, { type: 'text/plain; charset=utf-8', body: ({ message }) => message });
  }
}
