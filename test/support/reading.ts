/** Reads a body as text, until it contains a text. */
export class Reading {
  received = '';
  private readonly reader: ReadableStreamDefaultReader<string>;

  constructor(response: Response) {
    if (!response.body) {
      throw new Error('The response has no body');
    }
    this.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  }

  async until(text: RegExp | string): Promise<string> {
    const isThere = (): boolean => (typeof text === 'string' ? this.received.includes(text) : text.test(this.received));
    while (!isThere()) {
      const { done, value } = await this.reader.read();
      if (done) {
        throw new Error(`The body ended before ${text} came: ${this.received}`);
      }
      this.received += value;
    }
    return this.received;
  }

  async end(): Promise<string> {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) {
        return this.received;
      }
      this.received += value;
    }
  }

  leave(): Promise<void> {
    return this.reader.cancel();
  }
}
