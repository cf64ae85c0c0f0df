import 'reflect-metadata';
import type { RequestMethod } from '@nestjs/common';
import type { SseOptions, StreamHooksLike, StreamOptions } from '../options/streaming.options.js';
import type { StreamParameter } from './route-parameter.js';

const STREAM = Symbol('nestjs-streaming:stream');
/** Shared by all copies of the package: one copy must not ignore the hooks of another. */
const HOOKS = Symbol.for('nestjs-streaming:hooks');

/** The metadata that `@Stream()` or `@Sse()` stores on a method. */
export interface StreamMark {
  readonly decorator: 'Stream' | 'Sse';
  readonly options: StreamOptions & SseOptions;
  /** The path or paths that the decorator maps, or `undefined` if it has none. */
  readonly path: string | readonly string[] | undefined;
  readonly method: RequestMethod;
  /** The parameters of the method whose values the stream provides. */
  readonly parameters: readonly StreamParameter[];
}

/** Returns the mark of a method. Decorators that wrap the method copy it with the other metadata. */
export function markOf(handler: object): StreamMark | undefined {
  return Reflect.getMetadata(STREAM, handler) as StreamMark | undefined;
}

export function setMark(handler: object, mark: StreamMark): void {
  Reflect.defineMetadata(STREAM, mark, handler);
}

/** Returns the hooks of a class or method, outermost first. */
export function hooksOf(target: object): readonly StreamHooksLike[] {
  return (Reflect.getMetadata(HOOKS, target) as readonly StreamHooksLike[] | undefined) ?? [];
}

export function addHooks(target: object, hooks: readonly StreamHooksLike[]): void {
  Reflect.defineMetadata(HOOKS, [...hooks, ...hooksOf(target)], target);
}
