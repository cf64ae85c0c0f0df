import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { StreamError } from '../errors.js';

/** What a parameter of a stream method is given. */
export type StreamParameterKind = 'connection' | 'signal' | 'last-event-id';

/** A parameter that is filled in when the method is called, after pipes. */
export interface StreamParameter {
  readonly index: number;
  readonly kind: StreamParameterKind;
}

/** On the factory of a parameter decorator. */
const KIND = Symbol.for('nestjs-streaming:parameter');

/**
 * Makes a parameter decorator of a stream. Nest never extracts the value: the decorator of the method takes the parameter over, as a
 * pipe may copy what it is given (`ValidationPipe` does), and a copy of a connection or a signal is neither.
 */
export function createStreamParameter(kind: StreamParameterKind): () => ParameterDecorator {
  const factory = (_: unknown, context: ExecutionContext): never => {
    throw misplaced(`${context.getClass().name}.${context.getHandler().name}`);
  };
  return createParamDecorator(Object.assign(factory, { [KIND]: kind }));
}

/** Which of our parameters a factory stands for, as Nest noted it. */
export function parameterKindOf(
  factory: { [KIND]?: StreamParameterKind } | undefined,
): StreamParameterKind | undefined {
  return factory?.[KIND];
}

/** The error of a route that has a parameter of a stream and is no stream. */
export function misplaced(route: string): StreamError {
  return new StreamError('invalid-route', `${route} injects a stream, but has neither @Stream() nor @Sse()`);
}
