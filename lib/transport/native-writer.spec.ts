import { findNativeWriter } from './native-writer.js';
import { useRoundWriter, writeTo, writeToAll } from './round-writer.js';

/** Records what is logged. */
function recorder() {
  const lines: string[] = [];
  const log = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  return { lines, logger: { error: log('error'), warn: log('warn'), debug: log('debug') } };
}

describe('The search for nestjs-streaming-native', () => {
  afterEach(() => {
    delete process.env.NESTJS_STREAMING_NATIVE;
    useRoundWriter(undefined);
  });

  it('changes and logs nothing if the package is not installed', async () => {
    const { lines, logger } = recorder();

    await findNativeWriter(logger);
    await findNativeWriter(logger, async () => undefined);

    expect(lines).toEqual([]);
    expect(writeToAll([], Buffer.from('bytes'))).toBeUndefined();
  });

  it('makes rounds use its writer, which writes by the socket what it cannot send', async () => {
    const { lines, logger } = recorder();
    const given: unknown[] = [];
    const createWriter = (fallback: unknown) => {
      given.push(fallback);
      return () => [7];
    };

    await findNativeWriter(logger, async () => ({ contract: 1, version: '1.2.3', createWriter }));

    expect(writeToAll([], Buffer.from('bytes'))).toEqual([7]);
    expect(given).toEqual([writeTo]);
    expect(lines).toEqual(['debug nestjs-streaming-native 1.2.3 writes the events of hubs to plain TCP connections']);
  });

  it('says at the level debug that the package does not support the platform', async () => {
    const { lines, logger } = recorder();

    await findNativeWriter(logger, async () => ({ contract: 1, version: '1.2.3', createWriter: undefined }));

    expect(lines).toEqual([
      'debug nestjs-streaming-native 1.2.3 has no native code for this platform: sockets write the events of hubs',
    ]);
  });

  it('warns once of a package for another version of nestjs-streaming, and does not use it', async () => {
    const { lines, logger } = recorder();
    const createWriter = () => () => [7];

    await findNativeWriter(logger, async () => ({ contract: 2, version: '9.0.0', createWriter }));

    expect(writeToAll([], Buffer.from('bytes'))).toBeUndefined();
    expect(lines).toEqual([
      'warn nestjs-streaming-native is installed, but not used: its version 9.0.0 is for another version of nestjs-streaming: install the same version of both. ' +
        'Sockets write the events of hubs, as without it. The environment variable NESTJS_STREAMING_NATIVE=off says that this is intended',
    ]);
  });

  it('warns once of a package that cannot be loaded, with the reason', async () => {
    const { lines, logger } = recorder();

    await findNativeWriter(logger, () => Promise.reject(new Error('wrong ELF class')));

    expect(writeToAll([], Buffer.from('bytes'))).toBeUndefined();
    expect(lines).toEqual([expect.stringMatching(/^warn .* is installed, but not used: wrong ELF class\. Sockets/)]);
  });

  it('does not load the package if NESTJS_STREAMING_NATIVE is off', async () => {
    process.env.NESTJS_STREAMING_NATIVE = 'off';
    const { lines, logger } = recorder();

    await findNativeWriter(logger, () => Promise.reject(new Error('loaded')));

    expect(lines).toEqual([]);
  });
});
