import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';

/**
 * The id of the last event that a page has received, from the address: a page that was reloaded, or a new `EventSource`, cannot send it
 * in a header. The hub checks the id.
 */
@Injectable()
export class AfterPipe implements PipeTransform<unknown, string | undefined> {
  transform(after: unknown): string | undefined {
    if (after !== undefined && typeof after !== 'string') {
      throw new BadRequestException('after is the id of one event');
    }
    return after;
  }
}
