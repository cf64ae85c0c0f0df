// Postgres cannot store NUL. It is stored as U+0001 and U+0002, and U+0001 as twice U+0001. Nearly every text has neither.
const ESCAPE = '\u0001';
const ESCAPED_NUL = '\u0001\u0002';

/** Returns the text that is stored for a text. */
export function storedText(text: string): string {
  return text.includes('\0') || text.includes(ESCAPE)
    ? text.replaceAll(ESCAPE, ESCAPE + ESCAPE).replaceAll('\0', ESCAPED_NUL)
    : text;
}

/** Returns the text that a stored text stands for. */
export function textOfStored(stored: string): string {
  return stored.includes(ESCAPE)
    ? stored
        .split(ESCAPE + ESCAPE)
        .map((part) => part.replaceAll(ESCAPED_NUL, '\0'))
        .join(ESCAPE)
    : stored;
}
