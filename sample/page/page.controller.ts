import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { Controller, Get, Header, NotFoundException, Param, StreamableFile } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { HAS_CONSOLE } from '../has-console.js';

const FOLDER = new URL('./public/', import.meta.url);
const TYPES = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.js', 'text/javascript; charset=utf-8'],
  ['.svg', 'image/svg+xml'],
]);
const CONSOLE = '<a href="/console">Console</a>';
const ONLY_FROM_HERE = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/** The page. Its files are read once, so a name that a client sends is never part of a path. */
@Controller()
@ApiExcludeController()
export class PageController {
  private readonly files = new Map(readdirSync(FOLDER).map((name) => [name, readFileSync(new URL(name, FOLDER))]));

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
    return this.file('index.html');
  }

  @Get('page/:name')
  @Header('Cache-Control', 'no-cache')
  asset(@Param('name') name: string): StreamableFile {
    return this.file(name);
  }

  private file(name: string): StreamableFile {
    const content = this.files.get(name);
    if (!content) {
      throw new NotFoundException();
    }
    return new StreamableFile(content, { type: TYPES.get(extname(name)), length: content.length });
  }
}
