import * as nest from '@nestjs/common';

/** `@SseSignal()` of the installed Nest, or `undefined`: not every version of Nest 11 has it. */
export const { SseSignal } = nest as { SseSignal?: () => ParameterDecorator };
