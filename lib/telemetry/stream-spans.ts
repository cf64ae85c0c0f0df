import { inspect } from 'node:util';
import type { Span, Tracer } from '@opentelemetry/api';
import type { StreamCloseReason } from '../connection/close-reason.js';
import type { ObservedStream } from '../connection/stream-observer.js';
import { attributesOf } from './attributes.js';

/** `SpanStatusCode.ERROR`. The name itself is there only when the package is installed. */
const ERROR = 2;

/** One span per stream, in the trace of its request. */
export class StreamSpans {
  private readonly spans = new Map<ObservedStream, Span>();

  constructor(private readonly tracer: Tracer) {}

  began(stream: ObservedStream): void {
    const attributes = { ...attributesOf(stream), 'stream.id': stream.id };
    this.spans.set(stream, this.tracer.startSpan(`stream ${stream.route}`, { attributes }));
  }

  opened(stream: ObservedStream): void {
    this.spans.get(stream)?.addEvent('first byte');
  }

  ended(stream: ObservedStream, { code, error }: StreamCloseReason): void {
    const span = this.spans.get(stream);
    this.spans.delete(stream);
    if (!span?.isRecording()) {
      span?.end();
      return;
    }
    const { chunks, bytes, lost } = stream.body;
    span.setAttributes({
      ...attributesOf(stream),
      reason: code,
      chunks,
      bytes,
      dropped: lost?.dropped ?? 0,
      lagged: lost?.lagged ?? 0,
      resumed: (stream.lastEventId ?? '') !== '',
    });
    if (error !== undefined) {
      span.recordException(error instanceof Error ? error : textOf(error));
    }
    if (code === 'error') {
      span.setStatus({ code: ERROR, message: error instanceof Error ? error.message : textOf(error) });
    }
    span.end();
  }
}

/** Anything can be thrown, also what has no `toString()`. */
function textOf(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : inspect(thrown);
}
