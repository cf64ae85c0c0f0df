import { AssertionError } from 'node:assert';
import { jsonValue, shortened } from './json-value.js';
import type { EventFields, TextReader } from './streamed-event.js';

/** What matters between the values of an array, and within them. */
const TOKEN = /["\\[\]{},]/g;

/** The values of one JSON array, each as soon as it is there. Any other JSON value, such as an error's, is one event. */
export class JsonArrayReader implements TextReader {
  private text = '';
  /** Up to where `text` has been looked at. */
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
      const problem = this.closed ? 'goes on behind' : 'ends before';
      throw new AssertionError({ message: `The body ${problem} the end of its JSON array: ${shortened(rest)}` });
    }
    return this.isArray === false ? [{ data: jsonValue(rest, 'The body') }] : [];
  }

  private scan(): EventFields[] {
    const events: EventFields[] = [];
    TOKEN.lastIndex = this.at;
    for (let token = TOKEN.exec(this.text); token && !this.closed; token = TOKEN.exec(this.text)) {
      if (token[0] === '\\') {
        // Whatever is behind it, which may not be there yet.
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

  /** Whether a value ends before this bracket or comma; the array begins with none. */
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

  /** Takes the text up to there, and the comma or bracket behind it. */
  private value({ 0: token, index: end }: RegExpExecArray): EventFields[] {
    // A brace closes no array: with it, the text is no JSON.
    const text = this.text.slice(0, token === '}' ? end + 1 : end).trim();
    this.text = this.text.slice(end + 1);
    const nothing = text === '' && this.count === 0 && token !== ',';
    return nothing ? [] : [{ data: jsonValue(text, `Value ${++this.count} of the body`) }];
  }
}
