/** The number of bytes that are gathered before a write: one chunk of an HTTP body, and one system call. */
const GATHER = 16_384;

/** @typedef {{ write(text: string): boolean, end(text: string): unknown, once(name: 'drain', run: () => void): unknown }} Sink */

/**
 * The least code that sends a sync generator with backpressure.
 * @param {Iterator<string>} source
 * @param {(text: string) => string} frame
 * @param {Sink} sink
 */
export function writeSync(source, frame, sink) {
  const run = () => {
    let text = '';
    for (let step = source.next(); !step.done; step = source.next()) {
      text += frame(step.value);
      if (text.length >= GATHER) {
        if (!sink.write(text)) {
          sink.once('drain', run);
          return;
        }
        text = '';
      }
    }
    sink.end(text);
  };
  run();
}

/**
 * The least code that sends an async generator with backpressure, and delays no chunk while the generator waits.
 * @param {AsyncIterator<string>} source
 * @param {(text: string) => string} frame
 * @param {Sink} sink
 */
export function writeAsync(source, frame, sink) {
  let text = '';
  let scheduled = false;
  const flush = () => {
    const gathered = text;
    text = '';
    return gathered === '' || sink.write(gathered);
  };
  const flushLater = () => {
    scheduled = false;
    flush();
  };
  const pump = () => source.next().then(onStep);
  /** @param {IteratorResult<string>} step */
  const onStep = (step) => {
    if (step.done) {
      sink.end(text);
      text = '';
      return;
    }
    text += frame(step.value);
    if (text.length >= GATHER && !flush()) {
      sink.once('drain', pump);
      return;
    }
    if (!scheduled) {
      scheduled = true;
      setImmediate(flushLater);
    }
    void pump();
  };
  void pump();
}
