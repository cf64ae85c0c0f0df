import { runInThisContext } from 'node:vm';

/** The process itself. Jest gives tests a copy, on which neither warnings nor unhandled rejections can be heard. */
export const realProcess = runInThisContext('process') as NodeJS.Process;
