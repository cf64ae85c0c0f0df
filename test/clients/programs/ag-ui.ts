// The two clients of AG-UI: its own, and that of TanStack.
import { HttpAgent } from '@ag-ui/client';
import { ChatClient, fetchServerSentEvents } from '@tanstack/ai-client';
import { type ClientCall, describeError, serve } from './program.js';

/** The text of an event, or its type if it has none. */
function shown(event: object): unknown {
  const { type, delta } = event as { readonly type: string; readonly delta?: unknown };
  return typeof delta === 'string' ? delta : type;
}

const FUNCTIONS = {
  /** Runs an agent, and reports each event. Returns the new messages. */
  async agent(call: ClientCall, url: string) {
    // The client writes errors to the console, too.
    console.error = () => undefined;
    const agent = new HttpAgent({ url });
    call.signal.addEventListener('abort', () => agent.abortRun());
    const input = { runId: 'r' };
    let failed: unknown;
    const { newMessages } = await agent.runAgent(input, {
      onEvent: ({ event }) => void call.report(shown(event)),
      onRunErrorEvent: ({ event }) => {
        failed = { message: event.message, code: event.code };
      },
    });
    return { messages: newMessages.map(({ content }) => content), failed };
  },
  /** Sends a message with the client of TanStack, and reports each chunk. Returns what a page would show. */
  async chat(call: ClientCall, url: string) {
    const errors: unknown[] = [];
    const client = new ChatClient({
      connection: fetchServerSentEvents(url),
      onChunk: (chunk) => call.report(shown(chunk)),
      onError: (error) => void errors.push(describeError(error)),
    });
    call.signal.addEventListener('abort', () => client.stop());
    await client.sendMessage('What is streamed?');
    const answers = client.getMessages().filter(({ role }) => role === 'assistant');
    const text = answers.flatMap(({ parts }) => parts).map((part) => (part.type === 'text' ? part.content : ''));
    return { text: text.join(''), status: client.getStatus(), errors };
  },
};
export type AgUi = typeof FUNCTIONS;

serve(FUNCTIONS);
