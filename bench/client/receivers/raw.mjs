/** The least code: loops over `fetch()` that split the body into lines. They ignore ids and types, and check nothing. */

/**
 * Sends a request, again after each response, until it is stopped.
 * @param {string} url
 * @param {(line: string) => void} onLine
 */
function lines(url, onLine) {
  const controller = new AbortController();
  const { signal } = controller;
  const once = async () => {
    const response = await fetch(url, { signal });
    const decoder = new TextDecoder();
    let rest = '';
    for await (const bytes of response.body ?? []) {
      const all = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = all.pop() ?? '';
      for (const line of all) {
        onLine(line);
      }
    }
  };
  const run = async () => {
    while (!signal.aborted) {
      await once().catch(() => undefined);
    }
  };
  void run();
  return () => controller.abort();
}

/** @type {import('../contestants.mjs').Receive} */
export const sse = (url, onData) =>
  lines(url, (line) => {
    if (line.startsWith('data: ')) {
      onData(JSON.parse(line.slice(6)));
    }
  });

/** @type {import('../contestants.mjs').Receive} */
export const ndjson = (url, onData) => lines(url, (line) => onData(JSON.parse(line)));
