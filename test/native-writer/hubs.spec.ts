import { type RoundWriter, writeTo } from '../../lib/transport/round-writer.js';
import { NODE_GYP_TOOLS, nodeGypTools } from '../support/node-gyp.js';
import { noteSent, setUsualWriter } from '../support/round-writer.js';
import { describeWith } from '../support/tools.js';
import { BUILD_TIMEOUT, loadNative } from './support.js';

/** How many times an event was sent to a socket, and how many times the socket wrote all of it or the rest. */
const figures = { sent: 0, left: 0 };

async function useNative(): Promise<void> {
  const { createWriter } = await loadNative();
  const left = new Set<unknown>();
  const write = (createWriter as NonNullable<typeof createWriter>)((socket, bytes) => {
    left.add(socket);
    return writeTo(socket, bytes);
  });
  const counted: RoundWriter = (sockets, bytes) => {
    left.clear();
    const full = write(sockets, bytes);
    figures.sent += sockets.length;
    figures.left += left.size;
    for (const socket of sockets.filter((each) => !left.has(each))) {
      noteSent(socket);
    }
    return full;
  };
  setUsualWriter(counted);
}

const tools = nodeGypTools();

if (tools !== undefined) {
  beforeAll(useNative, BUILD_TIMEOUT);
  // Their own tests, which then run with the native writer.
  await import('../e2e/hub-rows.spec.js');
  await import('../e2e/hub-delivery.spec.js');
  await import('../e2e/hub-closing.spec.js');
}

describeWith(NODE_GYP_TOOLS, tools)('The native writer', () => {
  it('has sent most events of the tests above', () => {
    expect(figures.sent).toBeGreaterThan(1_000);
    expect(figures.left).toBeLessThan(figures.sent / 2);
  });
});
