// Both packages of MCP: the client of the revision 2026-07-28, and the SDK 1.x, which speaks the revisions before it.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type ClientCall, serve } from './program.js';

const INFO = { name: 'test', version: '1.0.0' };
const TOOL = { name: 'tell', arguments: {} };
/** Reconnects at once. */
const reconnectionOptions = {
  initialReconnectionDelay: 1,
  maxReconnectionDelay: 1,
  reconnectionDelayGrowFactor: 1,
  maxRetries: 2,
};

const optionsOf = (call: ClientCall) => ({
  signal: call.signal,
  onprogress: ({ message }: { readonly message?: string }) => call.report(message),
});

/** Reports that a connection was lost. Other errors are those of calls. */
const reportLoss =
  (call: ClientCall) =>
  ({ message }: Error): void => {
    if (message.startsWith('SSE stream disconnected')) {
      call.report({ lost: message });
    }
  };

const FUNCTIONS = {
  /** Calls a tool, and reports its progress. */
  async callTool(call: ClientCall, url: string) {
    const client = new Client(INFO, { versionNegotiation: { mode: 'auto' } });
    client.onerror = reportLoss(call);
    const transport = new StreamableHTTPClientTransport(new URL(url), { reconnectionOptions });
    await client.connect(transport);
    try {
      const { content, isError } = await client.callTool(TOOL, optionsOf(call));
      return { content, isError, version: transport.protocolVersion };
    } finally {
      await client.close();
    }
  },
  /** The same with the SDK 1.x. */
  async callToolBefore(call: ClientCall, url: string) {
    const client = new OldClient(INFO);
    client.onerror = reportLoss(call);
    const transport = new OldTransport(new URL(url), { reconnectionOptions });
    await client.connect(transport);
    try {
      const { content, isError } = await client.callTool(TOOL, undefined, optionsOf(call));
      return { content, isError, version: transport.protocolVersion };
    } finally {
      await client.close();
    }
  },
};
export type Mcp = typeof FUNCTIONS;

serve(FUNCTIONS);
