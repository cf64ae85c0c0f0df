const REPLACEMENT = '\ufffd';

/** Returns how many bytes at the end of a chunk begin a character that is not complete. */
function incompleteEnd(bytes: Buffer): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count] ?? 0;
    if (byte >= 0xc2 && byte <= 0xf4) {
      const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
      return length > count ? count : 0;
    }
    if (byte < 0x80 || byte > 0xbf) {
      return 0;
    }
  }
  return 0;
}

/** Decodes chunks of UTF-8 whose boundaries may be in the middle of a character, as those of tokens of a model. */
export class Utf8Halves {
  private rest: Buffer | undefined;

  /** Whether a character has begun that is not complete. */
  get pending(): boolean {
    return this.rest !== undefined;
  }

  /** Returns the text of a chunk, with the begun character of the one before. `undefined` if the chunk only has bytes of a character that is not complete yet. */
  write(chunk: Buffer): string | undefined {
    const bytes = this.rest ? Buffer.concat([this.rest, chunk]) : chunk;
    const count = incompleteEnd(bytes);
    // A copy, so that the memory of the other chunks can be freed.
    this.rest = count > 0 ? Buffer.from(bytes.subarray(bytes.length - count)) : undefined;
    const text = bytes.toString('utf8', 0, bytes.length - count);
    return text === '' && chunk.length > 0 ? undefined : text;
  }

  /** Returns what stands for a character that was never completed, if there is one. */
  end(): string | undefined {
    const { pending } = this;
    this.rest = undefined;
    return pending ? REPLACEMENT : undefined;
  }
}
