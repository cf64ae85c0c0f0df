import { join } from 'node:path';
import { compile, errorsIn } from '../support/compile.js';
import { ROOT } from '../support/documentation.js';

// The compiler is slow on a busy machine.
import.meta.jest.setTimeout(120_000);

const FILES = ['connect', 'reader', 'http', 'socket', 'index'].map((name) => join(ROOT, `lib/client/${name}.ts`));

describe('the client', () => {
  it('compiles in a page, with the types of browsers and without those of Node.js', () => {
    const program = compile({}, { lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], types: [] }, FILES);
    const ours = program.getSourceFiles().filter(({ fileName }) => fileName.includes('/lib/client/'));
    expect(ours.length).toBeGreaterThanOrEqual(FILES.length);
    expect(ours.flatMap(({ fileName }) => errorsIn(program, fileName))).toEqual([]);
    expect(program.getSourceFiles().filter(({ fileName }) => fileName.includes('/@types/'))).toEqual([]);
  });
});
