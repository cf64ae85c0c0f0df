import { BadRequestException } from '@nestjs/common';

/** The orders in which connections can be shown. */
const SORTS = ['newest', 'oldest', 'bytes', 'queue'] as const;
const LONGEST_FILTER = 100;

/** The filter and the order of the connections that a viewer has chosen. */
export interface ConsoleQuery {
  /** The text to search for, in lower case, or `#` and the id of a stream. Empty: all connections. */
  readonly filter: string;
  readonly sort: (typeof SORTS)[number];
}

/** Returns the parameters of a request as a query. @throws {BadRequestException} for invalid parameters */
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
