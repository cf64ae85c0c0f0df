// The AI SDK: its chat for React, and the transport below it.
import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport, readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai';
import { type ClientCall, describeError, serve } from './program.js';

const QUESTION: UIMessage = { id: 'q', role: 'user', parts: [{ type: 'text', text: 'What is streamed?' }] };

/** What a page would show. */
function answerOf(chat: Chat<UIMessage>): string {
  const parts = chat.messages.filter(({ role }) => role === 'assistant').flatMap((message) => message.parts);
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

/** Runs an action of a chat, and reports each state of the answer. Resolves to what the page shows at the end. */
async function watch(call: ClientCall, url: string, act: (chat: Chat<UIMessage>) => Promise<void>): Promise<unknown> {
  let finish: unknown;
  const data: unknown[] = [];
  const chat = new Chat<UIMessage>({
    id: 'c',
    transport: new DefaultChatTransport({ api: url }),
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) => {
      finish = { isAbort, isDisconnect, isError, finishReason };
    },
    onData: (part) => void data.push(part),
  });
  let shown = '';
  chat['~registerMessagesCallback'](() => {
    const text = answerOf(chat);
    if (text !== shown) {
      shown = text;
      call.report(text);
    }
  });
  call.signal.addEventListener('abort', () => void chat.stop());
  await act(chat);
  const parts = chat.messages.at(-1)?.role === 'assistant' ? chat.messages.at(-1)?.parts : undefined;
  const error = chat.error && describeError(chat.error);
  return { status: chat.status, error, finish, text: answerOf(chat), parts, data };
}

async function reportAll(call: ClientCall, stream: ReadableStream<UIMessageChunk>): Promise<void> {
  for await (const chunk of stream as unknown as AsyncIterable<UIMessageChunk>) {
    call.report(chunk);
  }
}

const ask = (call: ClientCall, url: string) =>
  new DefaultChatTransport({ api: url }).sendMessages({
    chatId: 'c',
    messages: [QUESTION],
    abortSignal: call.signal,
    trigger: 'submit-message',
    messageId: undefined,
  });

const FUNCTIONS = {
  /** `useChat()` without a browser: sends a message, and watches the answer. */
  chat: (call: ClientCall, url: string) => watch(call, url, (chat) => chat.sendMessage({ text: 'What is streamed?' })),
  /** What `useChat({ resume: true })` does when a page is loaded. */
  resume: (call: ClientCall, url: string) => watch(call, url, (chat) => chat.resumeStream()),
  /** The chunks of an answer, as the transport of `useChat()` reads them. */
  chunks: async (call: ClientCall, url: string) => reportAll(call, await ask(call, url)),
  /** Returns `null` if there is nothing to resume. */
  async reconnect(call: ClientCall, url: string) {
    const stream = await new DefaultChatTransport({ api: url }).reconnectToStream({ chatId: 'c' });
    return stream && reportAll(call, stream);
  },
  /** The states of the message that `readUIMessageStream()` makes of an answer. */
  async read(call: ClientCall, url: string) {
    const stream = await ask(call, url);
    for await (const message of readUIMessageStream({ stream, terminateOnError: true })) {
      call.report(message.parts.map((part) => (part.type === 'text' ? part.text : part.type)));
    }
  },
};
export type AiSdk = typeof FUNCTIONS;

serve(FUNCTIONS);
