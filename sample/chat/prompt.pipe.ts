import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';

const LONGEST = 2_000;

@Injectable()
export class PromptPipe implements PipeTransform<unknown, string> {
  transform(value: unknown): string {
    if (typeof value !== 'string' || value.trim() === '') {
      throw new BadRequestException('prompt is a text');
    }
    if (value.length > LONGEST) {
      throw new BadRequestException(`prompt has at most ${LONGEST} characters`);
    }
    return value.trim();
  }
}
