import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { compileScript, parse } from 'vue/compiler-sfc';
import { type Block, PACKAGE, ROOT } from './documentation.js';

/** What a page is bundled with. */
export interface PageOptions {
  /** Blocks of a guide, as files next to the entry. */
  readonly files?: readonly Block[];
  /** Packages to bundle in place of others, such as an older version. */
  readonly alias?: Record<string, string>;
  /** The element in which the application is shown. */
  readonly root?: string;
}

const ENTRY_POINTS = Object.fromEntries(
  Object.entries(PACKAGE)
    .reverse() // The root is a prefix of the others.
    .map(([name, path]) => [name, join(ROOT, `${path}.ts`)]),
);

/** Compiles the components of Vue. */
const VUE: Plugin = {
  name: 'vue',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor } = parse(await readFile(path, 'utf8'), { filename: path });
      return { contents: compileScript(descriptor, { id: path, inlineTemplate: true }).content, loader: 'ts' };
    }),
};

/** Returns a page with this code, as a bundler of an application makes it. The code may import this package, and files of a guide. */
export async function bundledPage(
  entry: string,
  { files = [], alias, root = '<div id="root"></div>' }: PageOptions = {},
): Promise<string> {
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
      plugins: [VUE],
      alias: { ...ENTRY_POINTS, ...alias },
      define: { 'process.env.NODE_ENV': '"development"' },
      tsconfigRaw: { compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false } },
    });
    const script = outputFiles[0]?.text.replaceAll('</script', '<\\/script');
    return `<!doctype html><meta charset="utf-8" /><body>${root}<script>${script}</script></body>`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
