import type { NestInterceptor, RequestMethod, Type } from '@nestjs/common';
import {
  HTTP_CODE_METADATA,
  INTERCEPTORS_METADATA,
  METHOD_METADATA,
  REDIRECT_METADATA,
  RENDER_METADATA,
  SSE_METADATA,
} from '@nestjs/common/constants.js';
import {
  type ApplicationConfig,
  type DiscoveryService,
  MetadataScanner,
  ModuleRef,
  type ModulesContainer,
} from '@nestjs/core';
import { HOOK_NAMES } from '../connection/hooks.js';
import type { StreamHooks } from '../connection/stream-connection.js';
import { validateOptions } from '../options/options-validation.js';
import type { StreamHooksLike } from '../options/streaming.options.js';
import type { Runs } from '../run/runs.js';
import { StreamError } from '../util/errors.js';
import { serializeChunks } from './chunk-serializer.js';
import { instanceFromDI } from './instance-from-di.js';
import type { RouteContext } from './route-context.js';
import { checkMapping, checkNoStream, restoreParameters } from './route-decorator.js';
import { hooksOf, markOf, type StreamMark } from './route-metadata.js';
import { fullPaths } from './route-paths.js';
import { StreamPlan } from './route-plan.js';
import { planSettings } from './route-settings.js';
import { streamingInterceptor } from './stream.interceptor.js';

/** One stream route of the application. */
export interface StreamRoute {
  readonly controller: Type;
  readonly key: string;
  readonly handler: object;
  readonly mark: StreamMark;
  readonly name: string;
  readonly module:
    | { readonly metatype: Type; getProviderByKey(token: unknown): { readonly instance: unknown } }
    | undefined;
}

/** Finds the stream routes of an application. */
export function streamRoutesOf(discovery: DiscoveryService): readonly StreamRoute[] {
  const scanner = new MetadataScanner();
  return discovery.getControllers().flatMap((wrapper) => {
    const controller = wrapper.metatype as Type | null;
    const prototype = (controller?.prototype ?? {}) as Record<string, unknown>;
    return scanner.getAllMethodNames(prototype).flatMap((key) => {
      const handler = prototype[key] as object;
      const mark = markOf(handler);
      if (!mark && controller) {
        restoreParameters(controller, key);
        checkNoStream(controller, key, handler);
      }
      return mark && controller
        ? [
            {
              controller,
              key,
              handler,
              mark,
              name: `${controller.name}.${key}`,
              module: wrapper.host as StreamRoute['module'],
            },
          ]
        : [];
    });
  });
}

/** The stream routes of an application, with their plans. */
export class StreamRoutes {
  private readonly plans = new Map<StreamRoute, StreamPlan>();

  constructor(
    private readonly context: RouteContext,
    private readonly routes: readonly StreamRoute[],
  ) {}

  /** Checks the options of every route, and creates its plan. */
  plan(): void {
    for (const route of this.routes) {
      const { mark, handler, name } = route;
      checkMapping(mark, handler, name);
      for (const metadata of [SSE_METADATA, RENDER_METADATA, REDIRECT_METADATA]) {
        if (Reflect.hasMetadata(metadata, handler)) {
          throw new StreamError(
            'invalid-route',
            `${name} is a stream, and also has @Render(), @Redirect() or the @Sse() of @nestjs/common: keep one`,
          );
        }
      }
      validateOptions(mark.decorator, mark.options, `@${mark.decorator}() of ${name}`);
      const method = Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined;
      const hasStatus = Reflect.hasMetadata(HTTP_CODE_METADATA, handler);
      const plan = new StreamPlan(planSettings(this.context, mark, { ...route, route: name, method, hasStatus }));
      this.plans.set(route, plan);
      this.context.plans.add(route.controller, mark, plan);
    }
  }

  /**
   * Adds the interceptor of this package before all others of a route, where it receives the final result, like Nest's own
   * response handling. Routes without interceptors do not need it, and are faster without it.
   */
  intercept(config: ApplicationConfig): void {
    serializeChunks();
    const global = config.getGlobalInterceptors();
    if (this.routes.length > 0 && (global.length > 0 || config.getGlobalRequestInterceptors().length > 0)) {
      global.unshift(streamingInterceptor);
      return;
    }
    for (const { controller, handler } of this.routes) {
      const outermost = [controller, handler].find((target) => Reflect.hasMetadata(INTERCEPTORS_METADATA, target));
      if (outermost) {
        const others = Reflect.getMetadata(INTERCEPTORS_METADATA, outermost) as (
          | NestInterceptor
          | Type<NestInterceptor>
        )[];
        Reflect.defineMetadata(
          INTERCEPTORS_METADATA,
          [streamingInterceptor, ...others.filter((each) => each !== streamingInterceptor)],
          outermost,
        );
      }
    }
  }

  /** Returns the full paths of all routes, or of those whose plan passes the filter. */
  paths(
    config: ApplicationConfig,
    modules: ModulesContainer,
    of: (plan: StreamPlan) => boolean = () => true,
  ): string[] {
    return [...this.plans]
      .filter(([, plan]) => of(plan))
      .flatMap(([{ controller, handler, module }]) =>
        fullPaths({ controller, handler, module: module?.metatype }, config, modules),
      );
  }

  /** Maps `Class.method` of every route with exactly one path to the template of that path. */
  pathsByName(config: ApplicationConfig, modules: ModulesContainer): ReadonlyMap<string, string> {
    const all = new Map<string, Set<string>>();
    for (const { name, controller, handler, module } of this.routes) {
      const paths = fullPaths({ controller, handler, module: module?.metatype }, config, modules);
      all.set(name, new Set([...(all.get(name) ?? []), ...paths]));
    }
    return new Map(
      [...all].flatMap(([name, paths]) => (paths.size === 1 ? [[name, ...paths] as [string, string]] : [])),
    );
  }

  /** The names of the routes whose handlers are producers of runs. */
  get producers(): readonly string[] {
    return [...this.plans].flatMap(([{ name }, { producesRuns }]) => (producesRuns ? [name] : []));
  }

  /** Sets where the runs of the routes are. */
  useRuns(runs: Runs): void {
    for (const plan of this.plans.values()) {
      plan.useRuns(runs);
    }
  }

  /** Resolves the hooks of every route, outermost first, and its guards. */
  async resolve(moduleRef: ModuleRef): Promise<void> {
    const own = [this.context.options.hooks ?? []].flat();
    const ofApplication = await resolveAll(own, moduleRef, 'StreamingModule.forRoot()');
    demandWebSocket(ofApplication, this.context.websocket !== undefined, 'StreamingModule.forRoot()');
    for (const [route, plan] of this.plans) {
      const { controller, handler, module, name } = route;
      const ref = (module?.getProviderByKey(ModuleRef).instance as ModuleRef | undefined) ?? moduleRef;
      const ofClass = await resolveAll(hooksOf(controller), ref, name);
      const ofMethod = await resolveAll(hooksOf(handler), ref, name);
      demandWebSocket(ofClass, this.hasWebSocket(controller), controller.name);
      demandWebSocket(ofMethod, plan.webSockets, name);
      plan.useHooks([...ofApplication, ...ofClass, ...ofMethod]);
      await plan.resolveGuards(ref);
    }
  }

  /** Returns whether a route of a controller accepts upgrades to WebSocket. */
  private hasWebSocket(controller: Type): boolean {
    return [...this.plans].some(([route, { webSockets }]) => webSockets && route.controller === controller);
  }
}

/** Throws for hooks of which one would never be called, as only the clients of WebSockets send messages. */
function demandWebSocket(hooks: readonly StreamHooks[], hasWebSocket: boolean, where: string): void {
  if (!hasWebSocket && hooks.some(({ onAuth }) => typeof onAuth === 'function')) {
    throw new StreamError(
      'invalid-hook',
      `A hook of ${where} has onAuth(), but there are no WebSockets: set StreamingModule.forRoot({ websocket: true }), and serve the route with GET`,
    );
  }
}

function resolveAll(
  hooks: readonly StreamHooksLike[],
  moduleRef: ModuleRef,
  where: string,
): Promise<readonly StreamHooks[]> {
  return Promise.all(hooks.map((each) => resolveOne(each, moduleRef, where)));
}

async function resolveOne(hooks: StreamHooksLike, moduleRef: ModuleRef, where: string): Promise<StreamHooks> {
  if ((hooks ?? undefined) === undefined) {
    throw new StreamError(
      'invalid-hook',
      `A hook of ${where} is ${String(hooks)}. A class is undefined where two files import each other: move one of them`,
    );
  }
  const resolved =
    typeof hooks === 'function'
      ? await instanceFromDI(hooks, moduleRef, {
          code: 'invalid-hook',
          is: `a hook of ${where}`,
          requestIn: 'stream.request',
        })
      : hooks;
  if (!HOOK_NAMES.some((name) => typeof resolved[name] === 'function')) {
    throw new StreamError('invalid-hook', `The hooks of ${where} have none of ${HOOK_NAMES.join(', ')}`);
  }
  return resolved;
}
