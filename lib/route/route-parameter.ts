import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { StreamError } from '../util/errors.js';

/** The kind of value that a parameter of a stream method receives. */
export type StreamParameterKind = 'connection' | 'signal' | 'last-event-id';

/** A parameter whose value is set when the method is called, after pipes have run. */
export interface StreamParameter {
  readonly index: number;
  readonly kind: StreamParameterKind;
}

/** The property of the factory of a parameter decorator that holds its kind. */
const KIND = Symbol.for('nestjs-streaming:parameter');

/**
 * Creates a parameter decorator of a stream. Nest never extracts the value, since a pipe may copy its argument (`ValidationPipe` does), and a
 * copy of a connection or a signal does not work. Instead, the decorator of the method replaces the parameter.
 */
export function createStreamParameter(kind: StreamParameterKind): () => ParameterDecorator {
  const factory = (_: unknown, context: ExecutionContext): never => {
    throw misplaced(`${context.getClass().name}.${context.getHandler().name}`);
  };
  return createParamDecorator(Object.assign(factory, { [KIND]: kind }));
}

/** Returns the kind of a parameter, given the factory that Nest stores for it, or `undefined` if its decorator is not from this package. */
export function parameterKindOf(
  factory: { [KIND]?: StreamParameterKind } | undefined,
): StreamParameterKind | undefined {
  return factory?.[KIND];
}

/** Returns the error for a route that injects a parameter of a stream but is not a stream. */
export function misplaced(route: string): StreamError {
  return new StreamError('invalid-route', `${route} injects a stream, but has neither @Stream() nor @Sse()`);
}
