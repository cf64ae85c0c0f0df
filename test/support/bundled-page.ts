import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { type Block, PACKAGE, ROOT } from './documentation.js';

/** What a page is bundled with. */
export interface PageOptions {
  /** Blocks of a guide, as files next to the entry. */
  readonly files?: readonly Block[];
  /** Packages to bundle in place of others, such as an older version. */
  readonly alias?: Record<string, string>;
}

const ENTRY_POINTS = Object.fromEntries(
  Object.entries(PACKAGE)
    .reverse() // The root is a prefix of the others.
    .map(([name, path]) => [name, join(ROOT, `${path}.ts`)]),
);

/** Returns a page with this code, as a bundler of an application makes it. The code may import this package, and files of a guide. */
export async function bundledPage(entry: string, { files = [], alias }: PageOptions = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bundled-page-'));
  try {
    for (const { file, name, text } of files) {
      const path = join(folder, name ?? file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    }
    const { outputFiles } = await build({
      stdin: { contents: entry, resolveDir: folder, loader: 'tsx' },
      bundle: true,
      write: false,
      jsx: 'automatic',
      nodePaths: [join(ROOT, 'node_modules')],
      alias: { ...ENTRY_POINTS, ...alias },
      define: { 'process.env.NODE_ENV': '"development"' },
      tsconfigRaw: { compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false } },
    });
    return pageWith(outputFiles[0]?.text ?? '');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function pageWith(script: string): string {
  const text = script.replaceAll('</script', '<\\/script');
  return `<!doctype html><meta charset="utf-8" /><body><div id="root"></div><script>${text}</script></body>`;
}
