import { RunStream } from './run-stream.js';
import type { Session } from './session.js';

const { jest } = import.meta;

describe('The clock of the server, by which runs expire', () => {
  afterEach(() => void jest.restoreAllMocks());

  it.each([
    {
      server: 'reads the same as ours at some moment between the request and its answer',
      sent: 1_000,
      ts: 1_300,
      received: 1_900,
      ahead: 0,
    },
    { server: 'has passed ours before the answer arrives', sent: 1_000, ts: 2_500, received: 1_900, ahead: 600 },
    { server: 'is behind ours when the request is sent', sent: 1_000, ts: 800, received: 1_900, ahead: -200 },
  ])('is $ahead ms ahead if it $server', async ({ sent, ts, received, ahead }) => {
    let now = sent;
    jest.spyOn(Date, 'now').mockImplementation(() => now);
    const session = {
      request: async () => {
        now = received;
        return { json: () => ({ ts: new Date(ts).toISOString() }) };
      },
    };
    const stream = new RunStream('ns', { storage: 'file', replicas: 1, trustRestarts: false });

    await stream.open(session as unknown as Session);

    expect(stream.now - received).toBe(ahead);
  });
});
