import 'reflect-metadata';
import type { RequestMethod } from '@nestjs/common';
import type { SseOptions, StreamHooksLike, StreamOptions } from '../options/streaming.options.js';
import type { StreamParameter } from './route-parameter.js';

const STREAM = Symbol('nestjs-streaming:stream');
const HOOKS = Symbol('nestjs-streaming:hooks');

/** What a decorator says of a method. There is one for every decorated method. */
export interface StreamMark {
  readonly decorator: 'Stream' | 'Sse';
  readonly options: StreamOptions & SseOptions;
  /** The path it maps, if it was given one. */
  readonly path: string | readonly string[] | undefined;
  readonly method: RequestMethod;
  /** The parameters of the method that the stream fills in. */
  readonly parameters: readonly StreamParameter[];
}

/** The mark of a method, also of one that another decorator has wrapped and given the metadata of. */
export function markOf(handler: object): StreamMark | undefined {
  return Reflect.getMetadata(STREAM, handler) as StreamMark | undefined;
}

export function setMark(handler: object, mark: StreamMark): void {
  Reflect.defineMetadata(STREAM, mark, handler);
}

/** The hooks of a class or method, outermost first. */
export function hooksOf(target: object): readonly StreamHooksLike[] {
  return (Reflect.getMetadata(HOOKS, target) as readonly StreamHooksLike[] | undefined) ?? [];
}

export function addHooks(target: object, hooks: readonly StreamHooksLike[]): void {
  Reflect.defineMetadata(HOOKS, [...hooks, ...hooksOf(target)], target);
}
