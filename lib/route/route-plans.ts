import { adapterInstanceOf, type PlatformResponse } from '../platform/platform.js';
import { StreamError } from '../util/errors.js';
import type { StreamPlan } from './route-plan.js';

/** The plans of each application, by the instance of its HTTP adapter: several applications may run in one process. */
const applications = new WeakMap<object, RoutePlans>();

/** The plans of the stream routes of one application. */
export class RoutePlans {
  private readonly plans = new Map<object, Map<object, StreamPlan>>();

  /** Returns the plans of the application that a response belongs to. */
  static of(response: PlatformResponse): RoutePlans {
    // On Fastify, a response may belong to an instance that inherits from that of the application.
    for (
      let instance: object | null = adapterInstanceOf(response);
      instance;
      instance = Object.getPrototypeOf(instance) as object | null
    ) {
      const plans = applications.get(instance);
      if (plans) {
        return plans;
      }
    }
    throw new StreamError(
      'module-missing',
      'A stream route was called, but StreamingModule.forRoot() is not among the imports of the application',
    );
  }

  /** Uses these plans for the requests of an application. */
  serve(instance: object): void {
    const other = applications.get(instance);
    if (other && other !== this) {
      throw new StreamError(
        'module-duplicate',
        'StreamingModule.forRoot() is imported twice: import it once, in the root module',
      );
    }
    applications.set(instance, this);
  }

  add(controller: object, mark: object, plan: StreamPlan): void {
    const plans = this.plans.get(controller) ?? new Map<object, StreamPlan>();
    this.plans.set(controller, plans.set(mark, plan));
  }

  /** Returns the plan of a method, found by its mark: other decorators may have wrapped the method itself. */
  planOf(controller: object, mark: object): StreamPlan {
    const plan = this.plans.get(controller)?.get(mark);
    if (!plan) {
      throw new StreamError(
        'unknown-route',
        'A stream route was called that was not among the controllers when the application started: register its controller in a module before that',
      );
    }
    return plan;
  }
}
