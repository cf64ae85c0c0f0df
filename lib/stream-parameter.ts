import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { StreamError } from './errors.js';

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
    throw new StreamError(
      'invalid-option',
      `${context.getClass().name}.${context.getHandler().name} injects a stream, but has neither @Stream() nor @Sse()`,
    );
  };
  return createParamDecorator(Object.assign(factory, { [KIND]: kind }));
}

/** Which of our parameters a factory stands for, as Nest noted it. */
export function kindOf(factory: { [KIND]?: StreamParameterKind } | undefined): StreamParameterKind | undefined {
  return factory?.[KIND];
}
