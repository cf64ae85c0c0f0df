import { createReadStream, type ReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BadRequestException, Injectable, NotFoundException } from '@nestjs/common';

/** The files that may be exported, below the folder in which the sample is started. A name that a client sends is never part of a path. */
const FILES = new Map([
  ['package-lock.json', 'package-lock.json'],
  ['corpus.txt', 'sample/chat/corpus.txt'],
  ['LICENSE', 'LICENSE'],
  ['typescript.js', 'node_modules/typescript/lib/typescript.js'],
]);
const CHUNKS_PER_SECOND = 10;
const MS_PER_SECOND = 1_000;

export interface ExportedFile {
  readonly path: string;
  readonly bytes: number;
}

@Injectable()
export class ExportService {
  /** @throws BadRequestException for a file that is not offered */
  async find(name: string): Promise<ExportedFile> {
    const relative = FILES.get(name);
    if (relative === undefined) {
      throw new BadRequestException(`file is one of ${[...FILES.keys()].join(', ')}`);
    }
    const path = resolve(relative);
    const { size } = await stat(path).catch((error: Error) => {
      throw new NotFoundException(`${name} is not on this machine`, { cause: error });
    });
    return { path, bytes: size };
  }

  /** Reads a file as fast as the client reads. The chunks are text, so no character is split. */
  read({ path }: ExportedFile): ReadStream {
    return createReadStream(path, 'utf8');
  }

  /** Reads a file no faster than a number of bytes per second. */
  async *paced({ path }: ExportedFile, bytesPerSecond: number, signal: AbortSignal): AsyncGenerator<string> {
    const highWaterMark = Math.ceil(bytesPerSecond / CHUNKS_PER_SECOND);
    for await (const chunk of createReadStream(path, { encoding: 'utf8', highWaterMark })) {
      yield chunk as string;
      await sleep(MS_PER_SECOND / CHUNKS_PER_SECOND, undefined, { signal });
    }
  }
}
