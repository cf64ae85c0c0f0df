import type { ExecutionContext } from '@nestjs/common';
import type { PlatformResponse } from './platform/platform.js';
import { StreamExchange } from './stream-exchange.js';
import { runtimeOf } from './streaming.runtime.js';

const EXCHANGE = Symbol('nestjs-streaming:exchange');

type Exchanging = PlatformResponse & { [EXCHANGE]?: StreamExchange };

function createExchange(controller: object, handler: object, response: PlatformResponse): StreamExchange {
  return new StreamExchange(runtimeOf(response).planOf(controller, handler), response);
}

/** The exchange an interceptor or a parameter decorator is called for. */
export function exchangeIn(context: ExecutionContext): StreamExchange {
  const response = context.switchToHttp().getResponse<Exchanging>();
  response[EXCHANGE] ??= createExchange(context.getClass(), context.getHandler(), response);
  return response[EXCHANGE];
}

/** Calls the handler of a stream and sends what it returns, unless an interceptor does. */
export function serve(controller: object, handler: object, response: unknown, invoke: () => unknown): unknown {
  const carrier = response as Exchanging;
  const exchange = carrier[EXCHANGE] ?? createExchange(controller, handler, carrier);
  if (carrier[EXCHANGE]) {
    // The last to ask for it: it need not live as long as the stream.
    carrier[EXCHANGE] = undefined;
  }
  return exchange.intercepted ? exchange.invoke(invoke) : exchange.run(invoke);
}
