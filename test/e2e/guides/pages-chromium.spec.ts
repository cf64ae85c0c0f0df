import { PLATFORMS } from '../../support/app.js';
import { BrowserPage } from '../../support/browser-page.js';
import { type RunningBlock, start } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';
import { Recorder } from '../../support/events.js';
import { itWith } from '../../support/tools.js';

import.meta.jest.setTimeout(60_000);

const BOARD = 'docs/live-board.md';
const CHAT = 'docs/llm-tokens.md';
const RUNS = 'docs/runs.md';

describe.each(PLATFORMS)('%s: the pages of the guides, in Chromium', (platform) => {
  let app: RunningBlock;
  let browser: BrowserPage | undefined;

  const open = async (html: string) => {
    browser = await BrowserPage.open(`http://127.0.0.1:${app.port}`, html);
    return browser.page;
  };
  const write = (text: string) =>
    fetch(`http://127.0.0.1:${app.port}/board`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ text }),
    });

  afterEach(async () => {
    await browser?.close();
    browser = undefined;
    await app.close();
  });

  itWith('chromium')('the page of the board shows old and new messages, its own too', async () => {
    app = await start(blockNamed(BOARD, 'src/app.module.ts'), platform);
    await write('before');
    const page = await open(blockNamed(BOARD, 'public/index.html').text);
    await page.getByText('before').waitFor();
    await page.locator('[name=text]').fill('<b>mine</b>');
    await page.locator('button').click();
    await page.getByText('<b>mine</b>').waitFor();
  });

  itWith('chromium')('the page of the chat reads an answer again after a reload, and stops the model', async () => {
    app = await start(blockNamed(CHAT, 'src/app.module.ts'), platform);
    const page = await open(blockNamed(CHAT, 'public/index.html').text.replace('tokens: 2_000', 'tokens: 1_000_000'));
    await page.locator('#ask button').click();
    await page.getByText('la la la').waitFor();
    await page.reload();
    await page.getByText('la la la').waitFor();
    await page.locator('#stop').click();
    await page.getByText('(The run was stopped)').waitFor();
    expect(await app.printed.count(1)).toEqual(['the model was stopped']);
  });

  itWith('chromium')('the page of runs goes on after a reload and in a second tab, and one stops both', async () => {
    app = await start(blockNamed(RUNS, 'src/app.module.ts'), platform);
    const page = await open(blockNamed(RUNS, 'public/index.html').text);
    await page.locator('#ask [name=question]').fill(`first ${'la '.repeat(10_000)}`);
    await page.locator('#ask button').click();
    await page.getByText('You have asked: first la').waitFor();
    await page.reload();
    await page.getByText('You have asked: first la').waitFor();

    // sessionStorage belongs to a tab. A duplicate of a tab has a copy.
    const id = await page.evaluate<string>("sessionStorage.getItem('answer')");
    const other = await page.context().newPage();
    await other.addInitScript(`sessionStorage.setItem('answer', ${JSON.stringify(id)})`);
    await other.goto(page.url());
    await other.getByText('You have asked: first la').waitFor();
    await other.locator('#stop').click();

    await Promise.all([page, other].map((each) => each.getByText('The run was stopped').waitFor()));
    expect(await page.locator('#answer').textContent()).toBe(await other.locator('#answer').textContent());
    expect(await app.printed.count(1)).toEqual(['the model was stopped']);
  });

  itWith('chromium')('the page of runs comes back if the process of its connection closes', async () => {
    app = await start(blockNamed(RUNS, 'src/app.module.ts'), platform);
    const page = await open(blockNamed(RUNS, 'public/index.html').text);
    const answers = ['id: 1\ndata: first\n\nevent: shutdown\nretry: 1\ndata: {}\n\n', 'id: 2\ndata: second\n\n'];
    await page.route('**/answers/one', (route) =>
      route.fulfill({ contentType: 'text/event-stream', body: answers.shift() ?? '' }),
    );
    await page.evaluate("sessionStorage.setItem('answer', 'one')");

    await page.reload();

    await page.getByText('first second').waitFor();
    expect(await page.locator('#status').textContent()).toBe('');
  });

  itWith('chromium')('the page of runs shows a complete answer, and does not ask for it again', async () => {
    app = await start(blockNamed(RUNS, 'src/app.module.ts'), platform);
    const page = await open(blockNamed(RUNS, 'public/index.html').text);
    const reads = new Recorder();
    page.on('request', (request) => /answers\/./.test(request.url()) && reads.add(request.method()));
    await page.locator('#ask button').click();
    await page.getByText('You have asked: What is a run?').waitFor();
    await page.locator('#stop').waitFor({ state: 'hidden' });
    expect(await page.locator('#status').textContent()).toBe('');
    expect(reads.seen).toEqual(['GET']);
  });
});
