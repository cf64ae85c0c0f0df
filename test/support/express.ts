import { createRequire } from 'node:module';

const adapter = createRequire(import.meta.url).resolve('@nestjs/platform-express');

/** Express, in the version that the installed adapter of Nest uses. */
export const express = createRequire(adapter)('express') as typeof import('express');
