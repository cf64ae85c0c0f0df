import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The packages that an application needs in addition to this one. */
export const NEEDED = ['@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'reflect-metadata', 'rxjs'];

/** A new folder, in which only the built package and its peer dependencies are installed. */
export class InstalledApp {
  private constructor(readonly folder: string) {}

  /** @param copies the names under which the package is installed */
  static async create(copies: readonly string[] = ['nestjs-streaming']): Promise<InstalledApp> {
    const app = new InstalledApp(await mkdtemp(join(tmpdir(), 'nestjs-streaming-')));
    for (const name of [...NEEDED, 'negotiator']) {
      const path = app.path('node_modules', name);
      await mkdir(dirname(path), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), path);
    }
    // Copies, and not links: through a link, they would resolve all packages of this repository.
    for (const copy of copies) {
      for (const part of ['dist', 'package.json']) {
        await cp(join(ROOT, part), app.path('node_modules', copy, part), { recursive: true });
      }
    }
    return app;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** Runs Node.js in the folder. Resolves to the lines of its output; rejects if it fails. */
  async run(...args: string[]): Promise<string[]> {
    const settings = { cwd: this.folder, timeout: 60_000 };
    const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', ...args], settings);
    return stdout.trimEnd().split('\n');
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true });
  }
}
