import { bytesFormat } from './bytes.format.js';
import type { ChosenFormat } from './negotiate.js';

/** The body of a web `Response`, which has a content type of its own, if any. */
export const PASSTHROUGH: ChosenFormat = { format: bytesFormat, contentType: undefined };
