import type { ExecutionContext } from '@nestjs/common';
import type { PlatformResponse } from './platform/platform.js';
import { StreamExchange } from './stream-exchange.js';
import { runtimeOf } from './streaming.runtime.js';

const EXCHANGE = Symbol('nestjs-streaming:exchange');

type Exchanging = PlatformResponse & { [EXCHANGE]?: StreamExchange };

/** The exchange of a response: made by whatever needs it first, an interceptor, a parameter or the handler. */
export function exchangeOf(controller: object, handler: object, response: PlatformResponse): StreamExchange {
  const carrier: Exchanging = response;
  carrier[EXCHANGE] ??= new StreamExchange(runtimeOf(response).planOf(controller, handler), response);
  return carrier[EXCHANGE];
}

/** The exchange a parameter decorator or an interceptor is called for. */
export function exchangeIn(context: ExecutionContext): StreamExchange {
  return exchangeOf(context.getClass(), context.getHandler(), context.switchToHttp().getResponse<PlatformResponse>());
}

/** Calls the handler of a stream and sends what it returns, unless an interceptor does. */
export function serve(controller: object, handler: object, response: unknown, invoke: () => unknown): unknown {
  const exchange = exchangeOf(controller, handler, response as PlatformResponse);
  return exchange.intercepted ? exchange.invoke(invoke) : exchange.run(invoke);
}
