import type { ExecutionContext } from '@nestjs/common';
import { StreamError } from './errors.js';
import type { PlatformResponse } from './platform/platform.js';
import { type Invoke, StreamExchange } from './stream-exchange.js';
import { markOf } from './stream-mark.js';
import { runtimeOf } from './streaming.runtime.js';

const EXCHANGE = Symbol('nestjs-streaming:exchange');

type Exchanging = PlatformResponse & { [EXCHANGE]?: StreamExchange };

function createExchange(controller: object, mark: object, response: PlatformResponse): StreamExchange {
  return new StreamExchange(runtimeOf(response).planOf(controller, mark), response);
}

/** The exchange an interceptor or a parameter decorator is called for. */
export function exchangeIn(context: ExecutionContext): StreamExchange {
  const response = context.switchToHttp().getResponse<Exchanging>();
  if (response[EXCHANGE]) {
    return response[EXCHANGE];
  }
  const mark = markOf(context.getHandler());
  if (!mark) {
    throw new StreamError(
      'invalid-option',
      `${context.getClass().name}.${context.getHandler().name} injects a stream, but has neither @Stream() nor @Sse()`,
    );
  }
  response[EXCHANGE] = createExchange(context.getClass(), mark, response);
  return response[EXCHANGE];
}

/** Calls the handler of a stream and sends what it returns, unless an interceptor does. */
export function serve(controller: object, mark: object, response: unknown, invoke: Invoke): unknown {
  const carrier = response as Exchanging;
  const exchange = carrier[EXCHANGE] ?? createExchange(controller, mark, carrier);
  if (carrier[EXCHANGE] && !exchange.intercepted) {
    // The last to ask for it: it need not live as long as the stream.
    carrier[EXCHANGE] = undefined;
  }
  return exchange.intercepted ? exchange.invoke(invoke) : exchange.run(invoke);
}
