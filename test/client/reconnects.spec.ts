import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connect } from '../../lib/client/index.js';
import { useRawServers } from '../support/raw-server.js';

const CLIENTS = 20;
/** Of each client. */
const RECONNECTS = 500;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('clients that connect again 10 000 times', () => {
  const serve = useRawServers();

  it('miss nothing, and keep neither sockets nor listeners nor memory', async () => {
    const { url, requests, closed } = await serve((response, request) => {
      const id = Number(request.headers['last-event-id'] ?? 0) + 1;
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': 1_000 });
      // The body is cut off: its length is not reached.
      response.write(`id: ${id}\ndata: ${id}\n\n`, () => response.destroy());
      requests.seen.length = 0;
      closed.seen.length = 0;
    });
    const clients = Array.from({ length: CLIENTS }, () => {
      const { signal } = new AbortController();
      return { signal, stream: connect<number>(url, { signal, retry: { base: 0 } }) };
    });
    /** Reads up to an item with each client, and returns what is kept then. */
    const read = async (from: number, to: number) => {
      await Promise.all(
        clients.map(async ({ signal, stream }) => {
          for (let n = from; n <= to; n++) {
            const { value } = await stream.next();
            if (value?.data !== n) {
              expect(value?.data).toBe(n);
            }
          }
          expect(getEventListeners(signal, 'abort').length).toBe(1);
        }),
      );
      collectGarbage();
      return { handles: process.getActiveResourcesInfo().length, heap: process.memoryUsage().heapUsed };
    };
    const before = await read(1, RECONNECTS / 10);
    const after = await read(RECONNECTS / 10 + 1, RECONNECTS);
    // Each client may have one socket, its server's side, and timers.
    expect(after.handles).toBeLessThanOrEqual(before.handles + 5 * CLIENTS);
    expect(after.heap - before.heap).toBeLessThan(40 * 2 ** 20);
    for (const { signal, stream } of clients) {
      stream.close();
      expect(getEventListeners(signal, 'abort').length).toBe(0);
    }
  }, 300_000);
});
