import type { SpanContext } from '@opentelemetry/api';

// version "-" trace-id "-" parent-id "-" trace-flags (https://www.w3.org/TR/trace-context/#traceparent-header-field-values)
const TRACE_PARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
/** The value of `INVALID_TRACEID`, which cannot be imported, as the package is optional. */
const NO_TRACE = '0'.repeat(32);

/** Returns the context of a span as text for other processes. Returns `undefined` if the application has set up no SDK. */
export function textOfContext({ traceId, spanId, traceFlags }: SpanContext): string | undefined {
  const flags = traceFlags.toString(16).padStart(2, '0');
  return traceId === NO_TRACE ? undefined : `00-${traceId}-${spanId}-${flags}`;
}

/** Returns the context of a span of another process. Returns `undefined` for other texts. */
export function contextOf(text: string): SpanContext | undefined {
  const [, traceId, spanId, flags = ''] = TRACE_PARENT.exec(text) ?? [];
  return traceId === undefined || spanId === undefined
    ? undefined
    : { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}
