// The client of Anthropic.
import Anthropic from '@anthropic-ai/sdk';
import { type ClientCall, serve } from './program.js';

const BODY = { model: 'm', max_tokens: 100, messages: [{ role: 'user' as const, content: 'What is streamed?' }] };

const clientOf = (url: string) => new Anthropic({ apiKey: 'x', baseURL: url, maxRetries: 0 });

const FUNCTIONS = {
  /** Reports the text of each event, or its type if it has none. */
  async messages(call: ClientCall, url: string) {
    const stream = await clientOf(url).messages.create({ ...BODY, stream: true }, { signal: call.signal });
    for await (const event of stream) {
      const text =
        event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : undefined;
      call.report(text ?? event.type);
    }
  },
  /** Reads an answer with the helper that collects it, and returns what it has collected. */
  async collected(call: ClientCall, url: string) {
    const stream = clientOf(url).messages.stream(BODY, { signal: call.signal });
    stream.on('text', (delta) => call.report(delta));
    return (await stream.finalMessage()).content;
  },
};
export type AnthropicSdk = typeof FUNCTIONS;

serve(FUNCTIONS);
