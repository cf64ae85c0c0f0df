import 'reflect-metadata';
import { type ExecutionContext, RequestMapping, RequestMethod, Res, SseSignal } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA, ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { StreamError } from './errors.js';
import { isResponse } from './platform/platform.js';
import { AWAITED_ID } from './resumption.js';
import { exchangeIn, serve } from './stream-handler.js';
import { markOf, type StreamMark, setMark } from './stream-mark.js';

const OURS = Symbol('nestjs-streaming:ours');

/** A decorated parameter, as Nest notes it. */
interface Parameter {
  readonly index: number;
  factory?: (data: unknown, context: ExecutionContext) => unknown;
  [OURS]?: true;
}

type Handler = (this: object, ...args: unknown[]) => unknown;

/** `@Stream()` and `@Sse()`: a path and options, or options alone. */
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

/** Makes a method a stream: Nest leaves the response to us, and what it returns comes through our hands. */
function markStream(options: StreamMark): MethodDecorator {
  return (target, key, descriptor: PropertyDescriptor) => {
    const mark = { ...options };
    const original = descriptor.value as Handler;
    if (markOf(original)) {
      throw new StreamError(
        'invalid-option',
        `${target.constructor.name}.${String(key)} has both @Stream() and @Sse(): keep one`,
      );
    }
    const index = injectResponse(target, key);
    honourSseSignal(target.constructor, key);
    descriptor.value = handlerOf(original, index, mark);
    for (const name of Reflect.getMetadataKeys(original)) {
      Reflect.defineMetadata(name, Reflect.getMetadata(name, original), descriptor.value);
    }
    setMark(descriptor.value, mark);
    mapRoute(mark, target, key, descriptor);
  };
}

/** The method around the method. Called by hand, as in a unit test, it is the method itself. */
function handlerOf(original: Handler, index: number, mark: StreamMark): Handler {
  const handler: Handler = function (...args) {
    return isResponse(args[index])
      ? serve(this.constructor, mark, args[index], (id) =>
          original.apply(
            this,
            args.slice(0, index).map((arg) => (arg === AWAITED_ID ? id : arg)),
          ),
        )
      : original.apply(this, args);
  };
  Object.defineProperty(handler, 'name', { value: original.name, configurable: true });
  Object.defineProperty(handler, 'length', { value: original.length, configurable: true });
  return handler;
}

/** Has Nest leave the response to us, as the parameter after those of the user. @returns its index */
function injectResponse(target: object, key: string | symbol): number {
  const controller = target.constructor;
  forgetResponse(controller, key);
  const index = Math.max(-1, ...Object.values(parametersOf(controller, key)).map((each) => each.index)) + 1;
  const others = new Set(Object.keys(parametersOf(controller, key)));
  Res()(target, key, index);
  for (const [name, parameter] of Object.entries(parametersOf(controller, key))) {
    if (!others.has(name)) {
      parameter[OURS] = true;
    }
  }
  return index;
}

/** Takes back what {@link injectResponse} did for a method of a base class: one that overrides it need not be a stream. */
export function forgetResponse(controller: object, key: string | symbol): void {
  const parameters = Object.entries(parametersOf(controller, key));
  const theirs = parameters.filter(([, parameter]) => !parameter[OURS]);
  if (theirs.length < parameters.length) {
    Reflect.defineMetadata(ROUTE_ARGS_METADATA, Object.fromEntries(theirs), controller, key);
  }
}

/** Whether a method has a parameter with that decorator, one made by Nest's `createParamDecorator()`. */
export function injects(controller: object, key: string, decorator: () => ParameterDecorator): boolean {
  const factory = factoryOf(decorator);
  return Object.values(parametersOf(controller, key)).some((each) => each.factory === factory);
}

/** What such a decorator notes of a parameter: the same for all of them. */
function factoryOf(decorator: () => ParameterDecorator): Parameter['factory'] {
  class Probe {}
  decorator()(Probe.prototype, 'probe', 0);
  return Object.values(parametersOf(Probe, 'probe'))[0]?.factory;
}

/** Gives `@SseSignal()` of `@nestjs/common` the signal of our stream: otherwise it would be undefined. */
function honourSseSignal(controller: object, key: string | symbol): void {
  const theirs = factoryOf(SseSignal);
  for (const parameter of Object.values(parametersOf(controller, key))) {
    if (parameter.factory !== undefined && parameter.factory === theirs) {
      parameter.factory = (_data, context) => exchangeIn(context).connection.signal;
    }
  }
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
    'invalid-option',
    `${route} is mapped twice, by its stream decorator and by another: give the path to one of them only`,
  );
}

/** Refuses a method that another decorator, applied later, has mapped elsewhere. */
export function checkMapping(mark: StreamMark, handler: object, route: string): void {
  const path: unknown = Reflect.getMetadata(PATH_METADATA, handler);
  const method: unknown = Reflect.getMetadata(METHOD_METADATA, handler);
  const moved = mark.path !== undefined && String(path) !== String(mark.path === '' ? '/' : mark.path);
  const changed = (mark.path !== undefined || mark.options.method !== undefined) && method !== mark.method;
  if (moved || changed) {
    throw contradiction(route);
  }
}
