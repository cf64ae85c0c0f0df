// The client of OpenAI and of compatible servers, in both majors.
import OpenAI6 from 'openai';
import OpenAI7 from 'openai-7';
import { type ClientCall, serve } from './program.js';

const MESSAGES = [{ role: 'user' as const, content: 'What is streamed?' }];

/** Both majors, which have the same interface here. They would repeat a request that fails. */
const clientOf = (major: number, url: string): OpenAI6 =>
  new (major === 6 ? OpenAI6 : (OpenAI7 as unknown as typeof OpenAI6))({ apiKey: 'x', baseURL: url, maxRetries: 0 });

const FUNCTIONS = {
  /** Reports the text of each chunk, or its whole choice if it has none. */
  async completions(call: ClientCall, url: string, major: number) {
    const body = { model: 'm', messages: MESSAGES, stream: true as const };
    const stream = await clientOf(major, url).chat.completions.create(body, { signal: call.signal });
    for await (const { choices } of stream) {
      // An error record of plain Server-Sent Events has no choices.
      const choice = (choices as typeof choices | undefined)?.[0];
      call.report(choice?.delta.content ?? choice?.finish_reason);
    }
  },
  /** Reads an answer with the helper that collects it, and returns what it has collected. */
  async collected(call: ClientCall, url: string, major: number) {
    const body = { model: 'm', messages: MESSAGES };
    const stream = clientOf(major, url).chat.completions.stream(body, { signal: call.signal });
    stream.on('content', (delta) => call.report(delta));
    return (await stream.finalChatCompletion()).choices[0]?.message.content;
  },
  /** Reports the text of each event, or its type if it has none. openai 6 passes an event of the type `error` on like any other. */
  async responses(call: ClientCall, url: string, major: number) {
    const body = { model: 'm', input: 'What is streamed?', stream: true as const };
    for await (const event of await clientOf(major, url).responses.create(body, { signal: call.signal })) {
      call.report(event.type === 'error' ? event : 'delta' in event ? event.delta : event.type);
    }
  },
  /** Resumes a response after an event. */
  async resume(call: ClientCall, url: string, major: number, id: string, after: number) {
    const query = { stream: true as const, starting_after: after };
    for await (const event of await clientOf(major, url).responses.retrieve(id, query, { signal: call.signal })) {
      call.report(event);
    }
  },
};
export type OpenAi = typeof FUNCTIONS;

serve(FUNCTIONS);
