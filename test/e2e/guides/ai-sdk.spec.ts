import type { Type } from '@nestjs/common';
import { DefaultChatTransport, simulateReadableStream, type UIMessage } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { StreamingModule } from '../../../lib/index.js';
import { PLATFORMS, startApp } from '../../support/app.js';
import { evaluate } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';

const GUIDE = 'docs/migrating.md';
const QUESTION: UIMessage = { id: 'q1', role: 'user', parts: [{ type: 'text', text: 'Hello?' }] };

const model = () =>
  new MockLanguageModelV4({
    doStream: async () => ({
      stream: simulateReadableStream({
        chunks: [
          { type: 'text-start', id: 't' },
          { type: 'text-delta', id: 't', delta: 'Good ' },
          { type: 'text-delta', id: 't', delta: 'morning' },
          { type: 'text-end', id: 't' },
        ],
      }),
    }),
  });

async function textOf(chunks: ReadableStream<{ readonly type: string }> | null): Promise<string> {
  let text = '';
  for await (const chunk of chunks ?? []) {
    text += chunk.type === 'text-delta' && 'delta' in chunk ? chunk.delta : '';
  }
  return text;
}

/** The application with a controller of the guide, and the transport of `useChat` for it. */
async function start(platform: (typeof PLATFORMS)[number], file: string) {
  const { ChatController } = await evaluate(blockNamed(GUIDE, file), () => undefined, {});
  const app = await startApp(platform, {
    imports: [StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' })],
    controllers: [ChatController as Type],
    providers: [{ provide: 'MODEL', useFactory: model }],
  });
  return { app, transport: new DefaultChatTransport({ api: app.url('/chat') }) };
}

const ask = (transport: DefaultChatTransport<UIMessage>) =>
  transport.sendMessages({
    chatId: 'c1',
    messages: [QUESTION],
    trigger: 'submit-message',
    messageId: undefined,
    abortSignal: undefined,
  });

const CASES = [
  ['express', 'src/before/chat.controller.ts'],
  ...PLATFORMS.flatMap((platform) => [
    [platform, 'src/after/chat.controller.ts'],
    [platform, 'src/runs/chat.controller.ts'],
  ]),
] as [(typeof PLATFORMS)[number], string][];

it.each(CASES)('%s: the transport of useChat reads the answer of %s', async (platform, file) => {
  const { app, transport } = await start(platform, file);
  try {
    expect(await textOf(await ask(transport))).toBe('Good morning');
  } finally {
    await app.close();
  }
});

it.each(PLATFORMS)('%s: the answer of src/runs/chat.controller.ts is resumed and stopped', async (platform) => {
  const { app, transport } = await start(platform, 'src/runs/chat.controller.ts');
  try {
    expect(await textOf(await ask(transport))).toBe('Good morning');
    expect(await transport.reconnectToStream({ chatId: 'c1' })).toBeNull();
    expect((await fetch(app.url('/chat/c1/stream'), { method: 'DELETE' })).status).toBe(204);
  } finally {
    await app.close();
  }
});
