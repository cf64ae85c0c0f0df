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

/** The exchange an interceptor is called for. */
export function exchangeIn(context: ExecutionContext, mark: StreamMark): StreamExchange {
  const response = context.switchToHttp().getResponse<Exchanging>();
  response[EXCHANGE] ??= createExchange(context.getClass(), mark, response);
  return response[EXCHANGE];
}

/** Calls the handler of a stream and sends what it returns, unless an interceptor does. */
export function serve(controller: object, mark: StreamMark, response: PlatformResponse, invoke: Invoke): unknown {
  const exchange = (response as Exchanging)[EXCHANGE];
  return exchange ? exchange.invoke(invoke) : createExchange(controller, mark, response).run(invoke);
}
