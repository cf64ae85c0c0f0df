/** As fetch(), but throws an error that says why if the server refuses the request. */
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
    throw new Error(`the server answered ${status}${message ? `: ${message}` : ''}`);
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

function failure(error, text) {
  return error.name === 'AbortError' ? error : new Error(text, { cause: error });
}
