import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { Controller, Get, Header, NotFoundException, Param, StreamableFile } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { HAS_CONSOLE } from '../has-console.js';

const TYPES = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.js', 'text/javascript; charset=utf-8'],
  ['.svg', 'image/svg+xml'],
]);
const CONSOLE = '<a href="/console">Console</a>';
const ONLY_FROM_HERE = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";

type Files = Map<string, Buffer>;

const filesIn = (folder: URL): Files =>
  new Map(
    readdirSync(folder)
      .filter((name) => TYPES.has(extname(name)))
      .map((name) => [name, readFileSync(new URL(name, folder))]),
  );

/** The page. Its files are read once, so a name that a client sends is never part of a path. */
@Controller()
@ApiExcludeController()
export class PageController {
  private readonly files = filesIn(new URL('./public/', import.meta.url));
  /** The modules of `nestjs-streaming/client`, which a browser runs as they are. An application with a bundler does not need this. */
  private readonly client = filesIn(new URL('.', import.meta.resolve('nestjs-streaming/client')));

  constructor() {
    const page = this.files.get('index.html');
    if (HAS_CONSOLE && page) {
      this.files.set('index.html', Buffer.from(String(page).replace('<!-- console -->', CONSOLE)));
    }
  }

  @Get()
  @Header('Content-Security-Policy', ONLY_FROM_HERE)
  @Header('Cache-Control', 'no-cache')
  index(): StreamableFile {
    return this.file(this.files, 'index.html');
  }

  @Get('page/:name')
  @Header('Cache-Control', 'no-cache')
  asset(@Param('name') name: string): StreamableFile {
    return this.file(this.files, name);
  }

  @Get('page/client/:name')
  @Header('Cache-Control', 'no-cache')
  module(@Param('name') name: string): StreamableFile {
    return this.file(this.client, name);
  }

  private file(files: Files, name: string): StreamableFile {
    const content = files.get(name);
    if (!content) {
      throw new NotFoundException();
    }
    return new StreamableFile(content, { type: TYPES.get(extname(name)), length: content.length });
  }
}
