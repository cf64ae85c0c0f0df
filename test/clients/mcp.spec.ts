import { InMemoryEventStore } from '@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js';
import { McpServer as OldServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { Body, Controller, Req, RequestMethod, type Type } from '@nestjs/common';
import { webRequest } from '../../lib/ai/index.js';
import { Stream } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import type { Mcp } from './programs/mcp.js';
import { describeProtocol, HEARTBEAT_MS, KEPT, REFUSAL, Stage, useClient, useScenes } from './support.js';

const client = useClient<Mcp>('mcp.ts');
const start = useScenes();

const WORDS = ['Nest', 'sends', 'streams', 'of progress'];

/** The parsed body of a request. */
interface Message {
  readonly method?: string;
}

function handlerRoute(stage: Stage): Type {
  const handler = createMcpHandler(
    (request) => {
      const server = new McpServer({ name: 'test', version: '1.0.0' });
      server.registerTool('tell', {}, async ({ mcpReq }) => {
        let progress = 0;
        const signal = request.requestInfo?.signal ?? mcpReq.signal;
        for await (const message of stage.play(WORDS, signal)) {
          progress++;
          const progressToken = mcpReq._meta?.progressToken ?? 0;
          await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, message } });
        }
        return { content: [{ type: 'text', text: WORDS.join(' ') }] };
      });
      return server;
    },
    { keepAliveMs: 0 },
  );
  @Controller()
  class Mcp {
    @Stream('mcp', { method: RequestMethod.ALL, heartbeat: HEARTBEAT_MS })
    async mcp(@Req() request: object, @Body() message: Message | undefined) {
      if (stage.fate === 'refused' && message?.method === 'tools/call') {
        throw REFUSAL;
      }
      return handler.fetch(webRequest(request));
    }
  }
  return Mcp;
}

const CONTENT = [{ type: 'text', text: WORDS.join(' ') }];
const FAILURE_CONTENT = [{ type: 'text', text: 'The model is away' }];
const BODY = '{"statusCode":429,"message":"Too many questions"}';
/** The reason of the signal of a web request. */
const ABORTED = { name: 'AbortError' };
const KEPT_WORDS = WORDS.slice(0, KEPT);

// The SDKs answer an exception of a tool with a result.
describeProtocol({
  name: 'the MCP client of 2026-07-28, whose server returns the Response of its SDK,',
  route: handlerRoute,
  reason: ABORTED,
  ask: (url) => client().call('callTool', `${url}/mcp`),
  outcomes: {
    complete: { items: WORDS, result: { content: CONTENT, version: '2026-07-28' } },
    refused: {
      items: [],
      error: {
        name: 'SdkHttpError',
        message: `Error POSTing to endpoint: ${BODY}`,
        status: 429,
        code: 'CLIENT_HTTP_NOT_IMPLEMENTED',
      },
    },
    failed: { items: KEPT_WORDS, result: { content: FAILURE_CONTENT, isError: true, version: '2026-07-28' } },
    aborted: {
      items: KEPT_WORDS,
      error: { name: 'SdkError', message: 'AbortError: This operation was aborted', code: 'REQUEST_TIMEOUT' },
    },
  },
});

describeProtocol({
  name: 'the client of the MCP SDK 1.x, whose server returns the Response of the SDK 2,',
  route: handlerRoute,
  reason: ABORTED,
  ask: (url) => client().call('callToolBefore', `${url}/mcp`),
  outcomes: {
    complete: { items: WORDS, result: { content: CONTENT, version: '2025-11-25' } },
    refused: {
      items: [],
      error: {
        name: 'StreamableHTTPError',
        message: `Streamable HTTP error: Error POSTing to endpoint: ${BODY}`,
        code: 429,
      },
    },
    failed: { items: KEPT_WORDS, result: { content: FAILURE_CONTENT, isError: true, version: '2025-11-25' } },
    aborted: {
      items: KEPT_WORDS,
      error: { name: 'McpError', message: 'MCP error -32001: AbortError: This operation was aborted', code: -32001 },
    },
  },
});

/** The server of the SDK 1.x, with one session, whose events are kept for clients that resume. */
async function sessionRoute(stage: Stage): Promise<Type> {
  const server = new OldServer({ name: 'test', version: '1.0.0' });
  server.registerTool('tell', {}, async (extra) => {
    let progress = 0;
    for await (const message of stage.play(WORDS, new AbortController().signal)) {
      progress++;
      const progressToken = extra._meta?.progressToken ?? 0;
      await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress, message } });
    }
    return { content: [{ type: 'text', text: WORDS.join(' ') }] };
  });
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: () => 'session',
    eventStore: new InMemoryEventStore(),
    keepAliveMs: 0,
  });
  await server.connect(transport);
  @Controller()
  class Mcp {
    @Stream('mcp', { method: RequestMethod.ALL, heartbeat: HEARTBEAT_MS })
    mcp(@Req() request: object) {
      return transport.handleRequest(webRequest(request));
    }
  }
  return Mcp;
}

describe.each(PLATFORMS)('%s: a client of MCP', (platform) => {
  it.each(['callTool', 'callToolBefore'] as const)(
    'is informed when the network is cut, and then waits for its timeout: %s',
    async (name) => {
      const stage = new Stage('cut');
      const scene = await start(platform, stage, { controllers: [handlerRoute(stage)] });
      const call = client().call(name, `${scene.wire.url}/mcp`);

      await call.items.count(KEPT + 1);
      call.abort();

      expect((await call.outcome).items).toEqual([
        ...KEPT_WORDS,
        { lost: 'SSE stream disconnected: TypeError: terminated' },
      ]);
    },
  );

  it.each(['callTool', 'callToolBefore'] as const)(
    'resumes a session with Last-Event-ID after the network was cut, and receives each message once: %s',
    async (name) => {
      const stage = new Stage('cut');
      const scene = await start(platform, stage, { controllers: [await sessionRoute(stage)] });

      expect(await client().call(name, `${scene.wire.url}/mcp`).outcome).toEqual({
        items: [...KEPT_WORDS, { lost: 'SSE stream disconnected: TypeError: terminated' }, ...WORDS.slice(KEPT)],
        result: { content: CONTENT, version: '2025-11-25' },
      });
    },
  );
});
