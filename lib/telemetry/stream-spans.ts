import type { Span, Tracer } from '@opentelemetry/api';
import type { ObservedStream } from '../connection/registry/stream-observer.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import { isError, textOf } from '../util/error-text.js';
import { type AttributesOf, CLOSE_CODE, errorType } from './attributes.js';
import { contextOf } from './trace-context.js';

/** The value of `SpanStatusCode.ERROR`, which cannot be imported, as the package is optional. */
const ERROR = 2;

/** One span per stream, in the trace of its request. */
export class StreamSpans {
  private readonly spans = new Map<ObservedStream, Span>();

  /** @param tracer returns the tracer, if the application has set up an SDK: a span that nobody records would take several microseconds */
  constructor(
    private readonly tracer: () => Tracer | undefined,
    private readonly attributesOf: AttributesOf,
  ) {}

  began(stream: ObservedStream): void {
    const tracer = this.tracer();
    if (tracer) {
      const attributes = { ...this.attributesOf(stream), 'nestjs_streaming.stream.id': stream.id };
      this.spans.set(stream, tracer.startSpan(`stream ${stream.route}`, { attributes }));
    }
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
      ...this.attributesOf(stream),
      [CLOSE_CODE]: code,
      'nestjs_streaming.stream.chunks': chunks,
      'nestjs_streaming.stream.bytes': bytes,
      'nestjs_streaming.stream.dropped': lost?.dropped ?? 0,
      'nestjs_streaming.stream.lagged': lost?.lagged ?? 0,
      'nestjs_streaming.stream.resumed': (stream.lastEventId ?? '') !== '',
    });
    const run = stream.trace === undefined ? undefined : contextOf(stream.trace);
    if (run) {
      span.addLink({ context: run });
    }
    // That the access of a client ends is no exception of the application.
    if (error !== undefined && code !== 'expired' && code !== 'revoked') {
      recordException(span, error);
    }
    if (code === 'error') {
      span.setAttributes(errorType(error));
      span.setStatus({ code: ERROR, message: textOf(error) });
    }
    span.end();
  }
}

function recordException(span: Span, error: unknown): void {
  try {
    span.recordException(isError(error) ? error : textOf(error));
  } catch {
    // The method reads the fields of an error, which may throw.
    span.recordException(textOf(error));
  }
}
