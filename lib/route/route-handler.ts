import type { ExecutionContext } from '@nestjs/common';
import type { PlatformResponse } from '../platform/platform.js';
import { type Invoke, StreamExchange } from './exchange.js';
import type { StreamMark } from './route-metadata.js';
import { RoutePlans } from './route-plans.js';

const EXCHANGE = Symbol('nestjs-streaming:exchange');

type Exchanging = PlatformResponse & { [EXCHANGE]?: StreamExchange };

function createExchange(controller: object, mark: StreamMark, response: PlatformResponse): StreamExchange {
  return new StreamExchange(RoutePlans.of(response).planOf(controller, mark), mark.parameters, response);
}

/** Returns the exchange of the request for which an interceptor is called. Creates it at the first call. */
export function exchangeIn(context: ExecutionContext, mark: StreamMark): StreamExchange {
  const response = context.switchToHttp().getResponse<Exchanging>();
  response[EXCHANGE] ??= createExchange(context.getClass(), mark, response);
  return response[EXCHANGE];
}

/** Calls the handler of a stream. Sends its result, unless the result goes through interceptors first. */
export function serve(controller: object, mark: StreamMark, response: PlatformResponse, invoke: Invoke): unknown {
  const exchange = (response as Exchanging)[EXCHANGE];
  return exchange ? exchange.invoke(invoke) : createExchange(controller, mark, response).run(invoke);
}
