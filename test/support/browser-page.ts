import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { launchChromium } from './chromium.js';
import { clientModule } from './client-module.js';
import { toolPath } from './tools.js';

/** A page in Chromium, at the origin of an application that has no pages. */
export class BrowserPage {
  private constructor(
    readonly page: Page,
    private readonly browser: BrowserContext,
    private readonly profile: string,
  ) {}

  /** Opens `origin` with this HTML, next to the module of the client. All other requests reach the application, also those of further tabs. */
  static async open(origin: string, html: string): Promise<BrowserPage> {
    const profile = await mkdtemp(join(tmpdir(), 'browser-page-'));
    const browser = await launchChromium(toolPath('chromium') ?? '', profile);
    await browser.route(`${origin}/`, (route) =>
      route.fulfill({ contentType: 'text/html; charset=utf-8', body: html }),
    );
    await browser.route(`${origin}/client/index.js`, (route) =>
      route.fulfill({ contentType: 'text/javascript', body: clientModule() }),
    );
    const page = await browser.newPage();
    await page.goto(`${origin}/`);
    return new BrowserPage(page, browser, profile);
  }

  async close(): Promise<void> {
    await this.browser.close();
    await rm(this.profile, { recursive: true, force: true });
  }
}
