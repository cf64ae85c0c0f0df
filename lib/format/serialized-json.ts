/** A value that is JSON text already: formats that write JSON take the text over. */
export class SerializedJson {
  constructor(readonly text: string) {}

  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}
