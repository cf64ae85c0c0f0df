import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connect } from '../../lib/client/index.js';
import { useRawServers } from '../support/raw-server.js';

const RECONNECTS = 10_000;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('a client that connects again 10 000 times', () => {
  const serve = useRawServers();

  it('misses nothing, and keeps neither sockets nor listeners nor memory', async () => {
    const { url, requests, closed } = await serve((response, request) => {
      const id = Number(request.headers['last-event-id'] ?? 0) + 1;
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': 1_000 });
      // The body is cut off: its length is not reached.
      response.write(`id: ${id}\ndata: ${id}\n\n`, () => response.destroy());
      requests.seen.length = 0;
      closed.seen.length = 0;
    });
    const controller = new AbortController();
    const { signal } = controller;
    const stream = connect(url, { signal, retry: { base: 0 } });
    let last = 0;
    let heapBefore = 0;
    let handlesBefore = 0;
    for await (const { data } of stream) {
      expect(data).toBe(last + 1);
      last = data as number;
      if (last === RECONNECTS / 10 || last === RECONNECTS) {
        collectGarbage();
        const handles = process.getActiveResourcesInfo().length;
        const heap = process.memoryUsage().heapUsed;
        if (heapBefore) {
          expect(handles).toBeLessThanOrEqual(handlesBefore + 10);
          expect(heap - heapBefore).toBeLessThan(40 * 2 ** 20);
        }
        heapBefore = heap;
        handlesBefore = handles;
        expect(getEventListeners(signal, 'abort').length).toBe(1);
      }
      if (last === RECONNECTS) break;
    }
    expect(getEventListeners(signal, 'abort').length).toBe(0);
  }, 900_000);
});
