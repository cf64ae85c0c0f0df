import { fromWorker } from '../../lib/worker/index.js';

const fileOf = (name: string) => new URL(`./fixtures/${name}.mjs`, import.meta.url);

async function read<T>(chunks: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const chunk of chunks) {
    got.push(chunk);
  }
  return got;
}

describe('fromWorker()', () => {
  it('yields the chunks of the worker in their order, and ends with it', async () => {
    const got = await read(fromWorker<number>(fileOf('count'), { data: 5_000 }));

    expect(got).toEqual(Array.from({ length: 5_000 }, (_, index) => index + 1));
  });
});
