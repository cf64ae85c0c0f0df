import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';

const page = (text: string, link: string) => ({ text, link: `/${link}` });

/** The reference is made from the docstrings by TypeDoc, before the site is built: see `npm run docs`. */
const reference = existsSync(fileURLToPath(new URL('../api/index.md', import.meta.url)))
  ? [{ text: 'API reference', link: '/api/' }]
  : [];

const { bugs } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const repository = bugs.replace(/\/issues$/, '');

export default defineConfig({
  title: 'nestjs-streaming',
  description: 'Streams for NestJS: one controller method, any producer, every protocol',
  cleanUrls: true,
  // Pages link to files of the repository that are not part of the site.
  ignoreDeadLinks: [/^(\.\/)?\.\.\//],
  // The pages of the reference are not files of the repository.
  transformPageData({ relativePath, frontmatter }) {
    frontmatter.editLink ??= !relativePath.startsWith('api/');
  },
  themeConfig: {
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: repository }],
    editLink: { pattern: `${repository}/edit/main/docs/:path` },
    nav: [page('Quick start', 'quick-start'), page('Options', 'options'), page('Comparison', 'comparison')],
    sidebar: {
      '/': [
        {
          text: 'Start',
          items: [
            page('Quick start', 'quick-start'),
            page('Comparison', 'comparison'),
            page('Coming from Nest’s @Sse()', 'migrating'),
          ],
        },
        {
          text: 'Streams',
          items: [
            page('LLM tokens', 'llm-tokens'),
            page('Exports', 'exports'),
            page('Sources', 'sources'),
            page('Formats and events', 'formats'),
            page('Lifecycle and hooks', 'lifecycle-and-hooks'),
            page('Errors and cancellation', 'errors-and-cancellation'),
            page('Backpressure and flushing', 'backpressure-and-flushing'),
            page('WebSocket', 'websocket'),
            page('Compression', 'compression'),
          ],
        },
        {
          text: 'Hubs',
          items: [
            page('Hubs', 'hubs'),
            page('Resume', 'resume'),
            page('Slow consumers', 'slow-consumers'),
            page('Long polling', 'long-polling'),
            page('Brokers', 'brokers'),
          ],
        },
        {
          text: 'In production',
          items: [
            page('Deploying', 'deploying'),
            page('Security', 'security'),
            page('Observability', 'observability'),
            page('Console', 'console'),
            page('Testing', 'testing'),
            page('OpenAPI', 'openapi'),
          ],
        },
        { text: 'Reference', items: [page('Options', 'options'), page('Error codes', 'error-codes'), ...reference] },
      ],
    },
  },
});
