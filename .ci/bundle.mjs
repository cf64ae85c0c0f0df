// Joins the compiled modules of the entry points into few files: Node.js needs longer to find, read and link 250 small files than to run them. Code that
// entry points share is in dist/shared, so that it exists once. The text of the modules stays as it is, with its comments, and so do the declarations.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { rollup } from 'rollup';

const DIST = resolve('dist');
// Pages are served from these folders, and bundlers of pages read them: docs/client.md. The others run in Node.js only.
const SEPARATE = /^(client|react)\//;

const entryOf = (target) => (typeof target === 'string' ? target : (target.default ?? entryOf(target.import)));
const roomOf = (file) => dirname(relative(DIST, file)).split('/')[0];

/** The entry points of package.json that are bundled, such as `redis/index.js`. */
function entries() {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
  const names = Object.values(exports).map((target) => relative(DIST, resolve(entryOf(target))));
  return names.filter((name) => name.endsWith('.js') && !SEPARATE.test(name));
}

/** Names a file of shared code after the folder of lib/ from which most of it comes. */
function nameOfShared({ moduleIds }) {
  const sizes = new Map();
  for (const id of moduleIds) {
    sizes.set(roomOf(id), (sizes.get(roomOf(id)) ?? 0) + readFileSync(id).length);
  }
  const [[largest]] = [...sizes].sort(([, a], [, b]) => b - a);
  return `shared/${largest}.js`;
}

async function bundled() {
  const bundle = await rollup({
    input: Object.fromEntries(entries().map((name) => [name.slice(0, -'.js'.length), join(DIST, name)])),
    external: (id) => !/^[./]/.test(id),
    // The helpers for decorators ask whether `this` has them.
    context: 'this',
    // Bundlers of applications remove what is not used.
    treeshake: false,
    onLog: (_level, { message }) => {
      throw new Error(message);
    },
  });
  const { output } = await bundle.generate({ chunkFileNames: nameOfShared, minifyInternalExports: false });
  await bundle.close();
  return output;
}

const output = await bundled();
for (const name of readdirSync(DIST, { recursive: true })) {
  if (name.endsWith('.js') && !SEPARATE.test(name)) {
    rmSync(join(DIST, name));
  }
}
mkdirSync(join(DIST, 'shared'));
for (const file of output) {
  writeFileSync(join(DIST, file.fileName), file.code.trim() === '' ? 'export {};\n' : file.code);
}
