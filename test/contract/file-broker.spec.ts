import fs, { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Broker } from '../../lib/index.js';
import { evaluate } from '../support/document-app.js';
import { blockNamed } from '../support/documentation.js';

const RETENTION = { limit: 100, ttl: 3_600_000 };
let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'file-broker-'));
});

afterEach(() => rmSync(directory, { recursive: true }));

/** The broker of docs/brokers.md. `replace` has functions of `node:fs` to replace. */
async function opened(replace: Partial<typeof fs> = {}): Promise<Broker> {
  const block = blockNamed('docs/brokers.md', 'src/file.broker.ts');
  const { FileBroker } = await evaluate(block, () => undefined, { 'node:fs': replace });
  const broker = new (FileBroker as new (directory: string) => Broker)(directory);
  await broker.open('log', RETENTION);
  return broker;
}

/** The file of the only log. */
function file(): string {
  return join(directory, readdirSync(directory)[0] as string);
}

const append = (broker: Broker, data: string) => broker.append('log', { data, encoding: 'text' });

async function expectLog(...expected: string[]): Promise<void> {
  const records = await (await opened()).read('log', 0, 100);
  expect(records.map(({ offset, data }) => `${offset} ${data}`)).toEqual(expected);
  expect(new Set(records.map(({ epoch }) => epoch)).size).toBe(1);
}

describe('The file broker of the documentation', () => {
  it.each([
    ['a part of a line', '{"data":"thi'],
    ['a part of a character', Buffer.from('{"data":"ü').subarray(0, -1)],
    ['a block without content', '\0'.repeat(512)],
  ])('continues after its last whole record if a crash has left %s', async (_, rest) => {
    const first = await opened();
    await append(first, 'one');
    await append(first, 'zwölf');
    appendFileSync(file(), rest);

    const second = await opened();
    const { offset } = await append(second, 'three');

    expect(offset).toBe(3);
    await expectLog('1 one', '2 zwölf', '3 three');
  });

  it('starts with an empty file that a crash has left', async () => {
    await append(await opened(), 'one');
    writeFileSync(file(), '');

    await append(await opened(), 'two');

    await expectLog('1 two');
  });

  it('leaves nothing of an entry that it could not write', async () => {
    let isFull = false;
    const broker = await opened({
      appendFileSync: (path, line, options) => {
        fs.appendFileSync(path, isFull ? String(line).slice(0, 20) : line, options);
        if (isFull) {
          throw new Error('ENOSPC');
        }
      },
    });
    await append(broker, 'one');
    isFull = true;
    await expect(append(broker, 'lost')).rejects.toThrow('ENOSPC');
    isFull = false;

    const { offset } = await append(broker, 'two');

    expect(offset).toBe(2);
    await expectLog('1 one', '2 two');
  });
});
