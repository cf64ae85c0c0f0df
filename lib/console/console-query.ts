import { BadRequestException } from '@nestjs/common';

/** In what order connections are shown. */
const SORTS = ['newest', 'oldest', 'bytes', 'queue'] as const;
const LONGEST_FILTER = 100;

/** Which connections a viewer wants to see. */
export interface ConsoleQuery {
  /** In lower case. Empty: all. */
  readonly filter: string;
  readonly sort: (typeof SORTS)[number];
}

/** @throws {BadRequestException} for what is none */
export function consoleQuery(filter: unknown = '', sort: unknown = 'newest'): ConsoleQuery {
  if (typeof filter !== 'string' || filter.length > LONGEST_FILTER) {
    throw new BadRequestException(`"filter" is one text of at most ${LONGEST_FILTER} characters`);
  }
  const known = SORTS.find((each) => each === sort);
  if (!known) {
    throw new BadRequestException(`"sort" is one of ${SORTS.join(', ')}`);
  }
  return { filter: filter.trim().toLowerCase(), sort: known };
}
