import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';

const page = (text: string, link: string) => ({ text, link: `/${link}` });

/** TypeDoc writes the reference from the docstrings before the site is built: see `npm run docs`. */
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
            page('Migrate from Nest’s @Sse()', 'migrating'),
          ],
        },
        {
          text: 'Tasks',
          items: [
            page('Stream LLM tokens', 'llm-tokens'),
            page('Build a chat for AI clients', 'ai-chat'),
            page('Serve AI protocols', 'ai'),
            page('Show a live board', 'live-board'),
            page('Export rows', 'exports'),
            page('Compute in a worker', 'workers'),
            page('Stream from a C++ thread', 'native'),
            page('Log in with a JWT', 'jwt'),
            page('End access to an open stream', 'authorization'),
            page('Run several processes', 'several-processes'),
          ],
        },
        {
          text: 'Streams',
          items: [
            page('Return or push chunks', 'sources'),
            page('Choose a format, send events', 'formats'),
            page('Run code with hooks', 'lifecycle-and-hooks'),
            page('Handle errors and disconnects', 'errors-and-cancellation'),
            page('Handle slow clients', 'backpressure-and-flushing'),
            page('Serve WebSocket clients', 'websocket'),
            page('Compress a stream', 'compression'),
            page('Compare clients', 'client-faults'),
          ],
        },
        {
          text: 'Hubs',
          items: [
            page('Send live events to many', 'hubs'),
            page('Resume after a reconnect', 'resume'),
            page('Handle slow subscribers', 'slow-consumers'),
            page('Show who is there', 'members'),
            page('Use long polling', 'long-polling'),
            page('Share hubs with Redis', 'redis'),
            page('Share hubs with NATS', 'nats'),
            page('Share hubs with Postgres', 'postgres'),
            page('Show records of Kafka', 'kafka'),
            page('Write a broker', 'brokers'),
          ],
        },
        {
          text: 'Runs',
          items: [page('Keep an answer going', 'runs')],
        },
        {
          text: 'Clients',
          items: [
            page('Read a stream', 'client'),
            page('Share one connection between tabs', 'client-shared'),
            page('React', 'react'),
            page('Angular', 'angular'),
            page('Vue', 'vue'),
            page('Use the types of a controller', 'client-types'),
            page('Generate a client from OpenAPI', 'openapi-client'),
          ],
        },
        {
          text: 'In production',
          items: [
            page('Deploy', 'deploying'),
            page('Plan the capacity', 'scaling'),
            page('Make Express cheaper', 'express'),
            page('Secure a stream', 'security'),
            page('Monitor streams', 'observability'),
            page('Add the console', 'console'),
            page('Test streams', 'testing'),
            page('Describe streams in OpenAPI', 'openapi'),
          ],
        },
        { text: 'Reference', items: [page('Options', 'options'), page('Error codes', 'error-codes'), ...reference] },
      ],
    },
  },
});
