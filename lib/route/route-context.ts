import type { StreamServices } from '../connection/stream-settings.js';
import type { StreamingModuleOptions } from '../options/streaming.options.js';
import type { WebSocketSettings } from '../websocket/websocket-plan.js';
import type { StreamLimiter } from './limiter.js';
import type { RoutePlans } from './route-plans.js';

/** The objects that all routes of one application share. */
export interface RouteContext {
  readonly options: StreamingModuleOptions;
  readonly services: StreamServices;
  readonly plans: RoutePlans;
  /** Counts all streams of the application. */
  readonly limiter: StreamLimiter;
  /** The settings of its WebSockets, or `undefined` if it accepts none. */
  readonly websocket: WebSocketSettings | undefined;
  /** Matches the parameter of `Accept` that holds the version of a route, where versions are in media types. */
  readonly versionParameter: RegExp | undefined;
  /** Returns whether the application closes and refuses new streams. */
  isDraining(): boolean;
}
