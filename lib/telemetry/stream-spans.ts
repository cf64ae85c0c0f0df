import type { Span, Tracer } from '@opentelemetry/api';
import type { StreamCloseReason } from '../connection/close-reason.js';
import type { ObservedStream } from '../connection/registry/stream-observer.js';
import { isError, textOf } from '../util/error-text.js';
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
      recordException(span, error);
    }
    if (code === 'error') {
      span.setStatus({ code: ERROR, message: textOf(error) });
    }
    span.end();
  }
}

function recordException(span: Span, error: unknown): void {
  try {
    span.recordException(isError(error) ? error : textOf(error));
  } catch {
    // It reads the fields of an error, which may throw.
    span.recordException(textOf(error));
  }
}
