import { runInThisContext } from 'node:vm';

/** The process itself. Jest gives tests a copy, which emits neither warnings nor unhandled rejections. */
export const realProcess = runInThisContext('process') as NodeJS.Process;
