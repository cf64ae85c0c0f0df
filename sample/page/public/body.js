/** A stream that the server refused, failed or did not finish. */
export class StreamFailure extends Error {
  /** @param status the status of the response, if there was one */
  constructor(message, { status, ...options } = {}) {
    super(message, options);
    this.status = status;
  }
}

/** As fetch(), but what is not an answer that streams throws a {@link StreamFailure} that says why. */
export async function open(path, init) {
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    throw failure(error, 'the server cannot be reached');
  }
  if (!response.ok) {
    const { status } = response;
    const message = await messageIn(response);
    throw new StreamFailure(`the server answered ${status}${message ? `: ${message}` : ''}`, { status });
  }
  return response;
}

/** The message of a body, which is JSON or the message alone. */
async function messageIn(response) {
  const text = await response.text().catch(() => '');
  return response.headers.get('Content-Type')?.startsWith('text/plain') ? text : messageOf(text);
}

function messageOf(json) {
  try {
    return JSON.parse(json).message;
  } catch {
    return undefined;
  }
}

/**
 * The chunks of a body. A body that was cut off throws: what came is not all there was.
 */
export async function* chunks(response) {
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw failure(error, 'the connection broke before the end');
      });
      if (done) {
        return;
      }
      yield value;
    }
  } finally {
    // Whoever stops reading stops the server, too.
    reader.cancel().catch(() => undefined);
  }
}

/**
 * The values of an NDJSON body. Empty lines are heartbeats; a last line without its end was cut off. Every chunk is shown
 * to `weigh` first.
 */
export async function* records(response, weigh = () => undefined) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks(response)) {
    weigh(chunk);
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line !== '') {
        yield record(line);
      }
    }
  }
  if (rest !== '') {
    throw new StreamFailure('the last record was cut off');
  }
}

function record(line) {
  const value = JSON.parse(line);
  if (value?.error) {
    throw new StreamFailure(`the server reports: ${value.error.message}`);
  }
  return value;
}

function failure(error, text) {
  return error.name === 'AbortError' ? error : new StreamFailure(text, { cause: error });
}
