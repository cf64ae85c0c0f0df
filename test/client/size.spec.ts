import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bundles a program for browsers, as applications do. */
async function bundled(program: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: process.cwd() },
    alias: { 'nestjs-streaming/client': './dist/client/index.js' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  });
  return outputFiles.map(({ text }) => text).join('');
}

describe('the client in a bundle', () => {
  it('has at most 4 096 bytes, minified and compressed', async () => {
    const text = await bundled("export * from 'nestjs-streaming/client'");
    expect(gzipSync(text, { level: 9 }).length).toBeLessThanOrEqual(4_096);
  });

  it('adds nothing to a program that imports it and does not use it', async () => {
    expect(await bundled("import { connect } from 'nestjs-streaming/client';")).toBe('');
  });
});
