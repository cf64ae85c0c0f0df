/**
 * How long the end of a truncated body is held back, in milliseconds. When a body breaks off, Chromium and undici drop what
 * they have received, but not handed to the page or reader yet: the record that says why would often be lost.
 */
export const LINGER_MS = 100;
