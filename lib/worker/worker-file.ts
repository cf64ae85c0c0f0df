import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { kindOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

const HOW = "Pass new URL('./tokens.js', import.meta.url), or in CommonJS join(__dirname, 'tokens.js')";

/** The files that were found. They are not looked for again. */
const found = new Set<string>();

function refuse(why: string): never {
  throw new StreamError('invalid-argument', `fromWorker(): ${why}`);
}

function urlOf(file: unknown): URL {
  if (typeof file === 'string') {
    if (isAbsolute(file)) {
      return pathToFileURL(file);
    }
    return file.startsWith('file:')
      ? new URL(file)
      : refuse(
          `${JSON.stringify(file)} is not an absolute path, and would depend on the folder in which the process was started. ${HOW}`,
        );
  }
  // A URL of another realm, such as in Jest, is not an instance of this one.
  return typeof (file as Partial<URL> | null | undefined)?.href === 'string'
    ? new URL((file as URL).href)
    : refuse(`the file of the worker is ${kindOf(file)}. ${HOW}`);
}

/** Returns a sentence for a JavaScript file that does not exist, if its TypeScript source does. */
function sourceNote(path: string): string {
  const source = path.replace(/\.([cm]?)js$/, '.$1ts');
  return source !== path && existsSync(source)
    ? `. ${source} exists: a worker runs JavaScript, so build the application, and run what was built`
    : '. If the application is built by a bundler, the file has to be an entry of its own';
}

/**
 * Returns the URL of the file of a worker.
 * @throws {StreamError} `invalid-argument` if it is not a file, or does not exist
 */
export function workerFileOf(file: unknown): URL {
  const url = urlOf(file);
  if (url.protocol !== 'file:') {
    return refuse(`a worker is a file, and not ${url.protocol} ${HOW}`);
  }
  if (!found.has(url.href)) {
    const path = fileURLToPath(url);
    if (!existsSync(path)) {
      return refuse(`${path} does not exist${sourceNote(path)}`);
    }
    found.add(url.href);
  }
  return url;
}
