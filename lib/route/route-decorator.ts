import 'reflect-metadata';
import * as nest from '@nestjs/common';
import { Req, RequestMapping, RequestMethod, Res, type Type } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA, ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { isResponse } from '../platform/platform.js';
import { StreamError } from '../util/errors.js';
import type { StreamExchange } from './exchange.js';
import { ModuleCheck } from './module-check.js';
import { serve } from './route-handler.js';
import { hooksOf, markOf, type StreamMark, setMark } from './route-metadata.js';
import { misplaced, parameterKindOf, type StreamParameter, type StreamParameterKind } from './route-parameter.js';

const OURS = Symbol('nestjs-streaming:ours');

/** A decorated parameter, as Nest stores it. */
interface Parameter {
  readonly index: number;
  readonly factory?: object;
  /** Marks a parameter that this package added: the response after the parameters of the user, or the replacement of a stream parameter. */
  [OURS]?: { readonly standsFor?: readonly [name: string, parameter: Parameter] };
}

type Handler = (this: object, ...args: unknown[]) => unknown;

/** Implements `@Stream()` and `@Sse()`, which take a path and options, or only options. */
export function decorateStream(
  decorator: StreamMark['decorator'],
  pathOrOptions: string | readonly string[] | StreamMark['options'] | undefined,
  options: StreamMark['options'],
): MethodDecorator {
  const mapped = typeof pathOrOptions === 'string' || Array.isArray(pathOrOptions);
  const given = (mapped ? options : (pathOrOptions ?? options)) as StreamMark['options'];
  return markStream({
    decorator,
    options: decorator === 'Sse' ? { format: 'sse', ...given } : given,
    path: mapped ? (pathOrOptions as string | readonly string[]) : undefined,
    method: given.method ?? RequestMethod.GET,
  });
}

/** Turns a method into a stream: Nest leaves the response to this package, which sends the result of the method. */
function markStream(options: Omit<StreamMark, 'parameters'>): MethodDecorator {
  return (target, key, descriptor: PropertyDescriptor) => {
    const original = descriptor.value as Handler;
    if (markOf(original)) {
      throw new StreamError(
        'invalid-route',
        `${target.constructor.name}.${String(key)} has both @Stream() and @Sse(): keep one`,
      );
    }
    restoreParameters(target.constructor, key);
    const mark: StreamMark = { ...options, parameters: replaceParameters(target, key) };
    const index = injectResponse(target, key);
    descriptor.value = handlerOf(original, index, mark);
    for (const name of Reflect.getMetadataKeys(original)) {
      Reflect.defineMetadata(name, Reflect.getMetadata(name, original), descriptor.value);
    }
    setMark(descriptor.value, mark);
    mapRoute(mark, target, key, descriptor);
  };
}

/** Returns the method that wraps the original one. A direct call, as in a unit test, calls the original method. */
function handlerOf(original: Handler, index: number, mark: StreamMark): Handler {
  const handler: Handler = function (...args) {
    const response = args[index];
    return isResponse(response)
      ? serve(this.constructor, mark, response, (exchange) =>
          original.apply(this, filledIn(args.slice(0, index), mark.parameters, exchange)),
        )
      : original.apply(this, args);
  };
  Object.defineProperty(handler, 'name', { value: original.name, configurable: true });
  Object.defineProperty(handler, 'length', { value: original.length, configurable: true });
  return handler;
}

function filledIn(args: unknown[], parameters: readonly StreamParameter[], exchange: StreamExchange): unknown[] {
  for (const { index, kind } of parameters) {
    args[index] = exchange.valueOf(kind);
  }
  return args;
}

/**
 * Replaces the parameters of a stream in Nest's metadata by parameters for the request. Nest would run pipes on the original parameters, but
 * runs none on a request. The values are filled in when the method is called. The originals are kept in the metadata, so that an overriding
 * method inherits them.
 */
function replaceParameters(target: object, key: string | symbol): readonly StreamParameter[] {
  const controller = target.constructor;
  const replaced: StreamParameter[] = [];
  for (const [name, parameter] of Object.entries(parametersOf(controller, key))) {
    const kind = streamKindOf(parameter);
    if (kind) {
      const { [name]: _, ...others } = parametersOf(controller, key);
      Reflect.defineMetadata(ROUTE_ARGS_METADATA, others, controller, key);
      injectAs(Req(), target, key, parameter.index)[OURS] = { standsFor: [name, parameter] };
      replaced.push({ index: parameter.index, kind });
    }
  }
  return replaced;
}

/** Adds a parameter for the response after those of the user, so that Nest leaves the response to this package. @returns its index */
function injectResponse(target: object, key: string | symbol): number {
  const index = Math.max(-1, ...Object.values(parametersOf(target.constructor, key)).map((each) => each.index)) + 1;
  Object.assign(injectAs(Res(), target, key, index), { [OURS]: {}, pipes: [ModuleCheck] });
  return index;
}

/** Applies a parameter decorator of Nest. @returns the parameter that Nest stores */
function injectAs(decorator: ParameterDecorator, target: object, key: string | symbol, index: number): Parameter {
  const before = Object.values(parametersOf(target.constructor, key));
  decorator(target, key, index);
  const noted = Object.values(parametersOf(target.constructor, key)).find((each) => !before.includes(each));
  return noted ?? { index };
}

/** Restores the parameters of a method of a base class: a method that overrides it does not have to be a stream. */
export function restoreParameters(controller: object, key: string | symbol): void {
  const parameters = Object.entries(parametersOf(controller, key));
  if (parameters.some(([, parameter]) => parameter[OURS])) {
    const theirs = parameters.map(([name, parameter]) =>
      parameter[OURS] ? parameter[OURS].standsFor : ([name, parameter] as const),
    );
    const restored = theirs.filter((each) => each !== undefined);
    // Nest 11 keeps the decorator of a parameter before the one that replaces it in the overriding method.
    const valid = restored.filter(
      ([, parameter], i) =>
        !streamKindOf(parameter) || !restored.slice(i + 1).some(([, later]) => later.index === parameter.index),
    );
    Reflect.defineMetadata(ROUTE_ARGS_METADATA, Object.fromEntries(valid), controller, key);
  }
}

/** Throws for a method that is not a stream, but has a parameter or the hooks of a stream. */
export function checkNoStream(controller: Type, key: string, handler: object): void {
  const injects = Object.values(parametersOf(controller, key)).some(({ factory }) => parameterKindOf(factory));
  if (injects && Reflect.hasMetadata(PATH_METADATA, handler)) {
    throw misplaced(`${controller.name}.${key}`);
  }
  if (hooksOf(handler).length > 0) {
    throw new StreamError(
      'invalid-route',
      `${controller.name}.${key} has @UseStreamHooks(), but neither @Stream() nor @Sse()`,
    );
  }
}

/** `@SseSignal()` of `@nestjs/common`, or `undefined`: not every version of Nest 11 has it. */
const { SseSignal } = nest as { SseSignal?: () => ParameterDecorator };

/** The factory that it stores. Its parameter receives the signal of the stream; Nest would inject `undefined`. */
const SSE_SIGNAL = SseSignal && factoryOf(SseSignal);

function streamKindOf({ factory }: Parameter): StreamParameterKind | undefined {
  return factory !== undefined && factory === SSE_SIGNAL ? 'signal' : parameterKindOf(factory);
}

/** Returns the factory that a decorator of Nest's `createParamDecorator()` stores. It is the same for every parameter. */
function factoryOf(decorator: () => ParameterDecorator): Parameter['factory'] {
  class Probe {}
  decorator()(Probe.prototype, 'probe', 0);
  return Object.values(parametersOf(Probe, 'probe'))[0]?.factory;
}

function parametersOf(controller: object, key: string | symbol): Record<string, Parameter> {
  return (Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, key) ?? {}) as Record<string, Parameter>;
}

function mapRoute(mark: StreamMark, target: object, key: string | symbol, descriptor: PropertyDescriptor): void {
  const handler: object = descriptor.value;
  const mapped = Reflect.hasMetadata(PATH_METADATA, handler);
  if (mapped && mark.path === undefined) {
    return;
  }
  if (mapped) {
    throw contradiction(`${target.constructor.name}.${String(key)}`);
  }
  const path = mark.path ?? '/';
  RequestMapping({ path: typeof path === 'string' ? path : [...path], method: mark.method })(target, key, descriptor);
}

function contradiction(route: string): StreamError {
  return new StreamError(
    'invalid-route',
    `${route} is mapped twice, by its stream decorator and by another: give the path to one of them only`,
  );
}

/**
 * Throws if a decorator that was applied later maps the method to another path. The same path is allowed, as in `@Post('x') @Sse('x')`: then
 * the HTTP method of the other decorator is used.
 */
export function checkMapping(mark: StreamMark, handler: object, route: string): void {
  const path: unknown = Reflect.getMetadata(PATH_METADATA, handler);
  const method: unknown = Reflect.getMetadata(METHOD_METADATA, handler);
  const moved = mark.path !== undefined && String(path) !== String(mark.path === '' ? '/' : mark.path);
  const changed = mark.options.method !== undefined && method !== mark.method;
  if (moved || changed) {
    throw contradiction(route);
  }
}
