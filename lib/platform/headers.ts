import type { BodyType } from '../transport/response-head.js';

export const CONTENT_TYPE = 'content-type';

type HeaderValue = number | string | readonly string[] | undefined;

/**
 * Returns the content type to set if the application has set `own`. Returns `undefined` if `own` may stay, because clients do not need the type
 * of the format, or because both have the same media type.
 */
export function typeInstead(own: HeaderValue, type: BodyType | undefined): string | undefined {
  if (type === undefined) {
    return undefined;
  }
  const stays =
    own === type.value ||
    (own !== undefined && (!type.required || mediaTypeIn(String(own)) === mediaTypeIn(type.value)));
  return stays ? undefined : type.value;
}

/** Returns the media type without parameters (RFC 9110 §8.3.1). */
function mediaTypeIn(contentType: string): string | undefined {
  return contentType.split(';', 1)[0]?.trim().toLowerCase();
}

/** Returns the value of `Vary` with one more field name (RFC 9110 §12.5.5). */
export function withVary(current: HeaderValue, name: string): string {
  const fields = String(current ?? '')
    .split(',')
    .map((field) => field.trim())
    .filter((field) => field !== '');
  const covered = fields.some((field) => field === '*' || field.toLowerCase() === name.toLowerCase());
  return (covered ? fields : [...fields, name]).join(', ');
}
