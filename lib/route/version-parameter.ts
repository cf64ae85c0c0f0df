import { type VersioningOptions, VersioningType } from '@nestjs/common';

/**
 * Returns what matches the parameter that holds the version of a route in `Accept: application/json;v=2`. To Nest it is not a
 * parameter of the media type, and media types are negotiated without it. Returns `undefined` where versions are elsewhere.
 */
export function versionParameterOf(versioning: VersioningOptions | undefined): RegExp | undefined {
  if (versioning?.type !== VersioningType.MEDIA_TYPE) {
    return undefined;
  }
  const key = versioning.key.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`;[ \\t]*${key}(?:"(?:[^"\\\\]|\\\\.)*"|[^,;"])*`, 'gi');
}
