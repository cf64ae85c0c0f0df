import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';

/**
 * The id of the last event that a page has, from its address: a page that was reloaded or an `EventSource` that was made anew
 * cannot send it in a header. What it names is for the hub to find out.
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
