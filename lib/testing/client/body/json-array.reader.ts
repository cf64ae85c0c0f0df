import { AssertionError } from 'node:assert';
import { jsonValue, shortened } from './json-value.js';
import type { EventFields, TextReader } from './streamed-event.js';

/** The characters that end a value, or that decide whether a comma or a bracket does. */
const TOKEN = /["\\[\]{},]/g;

/** Returns each value of a JSON array as soon as it is complete. Any other JSON value, such as the body of an error, is one event. */
export class JsonArrayReader implements TextReader {
  private text = '';
  /** The index up to which `text` has been scanned. */
  private at = 0;
  private depth = 0;
  private quoted = false;
  private count = 0;
  private isArray: boolean | undefined;
  private closed = false;

  read(text: string): EventFields[] {
    this.text += text;
    this.isArray ??= this.text.trim() === '' ? undefined : this.text.trimStart().startsWith('[');
    return this.isArray ? this.scan() : [];
  }

  end(): EventFields[] {
    const rest = this.text.trim();
    if (this.isArray === true && (!this.closed || rest !== '')) {
      const problem = this.closed ? 'continues after' : 'ends before';
      throw new AssertionError({ message: `The body ${problem} the end of its JSON array: ${shortened(rest)}` });
    }
    return this.isArray === false ? [{ data: jsonValue(rest, 'The body') }] : [];
  }

  private scan(): EventFields[] {
    const events: EventFields[] = [];
    TOKEN.lastIndex = this.at;
    for (let token = TOKEN.exec(this.text); token && !this.closed; token = TOKEN.exec(this.text)) {
      if (token[0] === '\\') {
        // Skips the escaped character, which may not have been received yet.
        TOKEN.lastIndex++;
      } else if (token[0] === '"') {
        this.quoted = !this.quoted;
      } else if (!this.quoted && this.ends(token[0])) {
        events.push(...this.value(token));
        TOKEN.lastIndex = 0;
      }
      this.at = TOKEN.lastIndex;
    }
    return events;
  }

  /** Returns whether a value ends before this bracket or comma. The bracket that opens the array counts too, as the end of an empty value. */
  private ends(token: string): boolean {
    if (token === '[' || token === '{') {
      this.depth++;
      return this.depth === 1;
    }
    if (token !== ',') {
      this.depth--;
    }
    this.closed = this.depth === 0;
    return this.closed || (token === ',' && this.depth === 1);
  }

  /** Consumes the text up to the token, and the token. Returns the event of the value, or none for an empty array. */
  private value({ 0: token, index: end }: RegExpExecArray): EventFields[] {
    // A brace cannot close the array: it is kept, so that the text is not valid JSON.
    const text = this.text.slice(0, token === '}' ? end + 1 : end).trim();
    this.text = this.text.slice(end + 1);
    const nothing = text === '' && this.count === 0 && token !== ',';
    return nothing ? [] : [{ data: jsonValue(text, `Value ${++this.count} of the body`) }];
  }
}
