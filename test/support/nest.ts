import { createRequire } from 'node:module';
import * as nest from '@nestjs/common';

const { version } = createRequire(import.meta.url)('@nestjs/core/package.json') as { version: string };

/** The installed line of Nest: 11 or 12. */
export const NEST_MAJOR = Number.parseInt(version, 10);
/** The first versions of Nest 11 have faults that later ones do not have. */
export const IS_NEST_11_0 = version.startsWith('11.0.');

/** `@SseSignal()` of the installed Nest, or `undefined`: not every version of Nest 11 has it. */
export const { SseSignal } = nest as { SseSignal?: () => ParameterDecorator };
