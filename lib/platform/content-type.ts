import type { ContentType } from '../format/negotiate.js';

export const CONTENT_TYPE = 'content-type';

type HeaderValue = number | string | readonly string[] | undefined;

/** The type that has to be set where the application has set `own`; `undefined` if that can stay: it is free, or names the same media type. */
export function typeInstead(own: HeaderValue, type: ContentType | undefined): string | undefined {
  if (type === undefined) {
    return undefined;
  }
  const stays = own !== undefined && (!type.required || mediaTypeIn(String(own)) === mediaTypeIn(type.value));
  return stays ? undefined : type.value;
}

/** The media type without its parameters (RFC 9110 §8.3.1). */
function mediaTypeIn(contentType: string): string | undefined {
  return contentType.split(';', 1)[0]?.trim().toLowerCase();
}
