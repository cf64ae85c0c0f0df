import type { HttpServer } from '@nestjs/common';
import { WebSocketSupport } from './websocket-support.js';

it('WebSockets without ws installed are refused at start-up, with what to do', async () => {
  const logger = { error: () => undefined, warn: () => undefined, debug: () => undefined };
  const support = new WebSocketSupport({}, logger, () => Promise.reject(new Error("Cannot find package 'ws'")));

  await expect(support.open({} as HttpServer, ['/feed'])).rejects.toMatchObject({
    code: 'module-missing',
    message: expect.stringContaining('npm install ws'),
    cause: expect.objectContaining({ message: "Cannot find package 'ws'" }),
  });
});
