import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { destroyLater } from './linger.js';

it('destroyLater() lets the process read the data that arrived while it did not run, before it destroys the socket', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket]: Socket[] = await once(server, 'connection');
  if (client.connecting) {
    await once(client, 'connect');
  }
  let received = '';
  socket?.on('data', (data) => {
    received += data;
  });
  const closed = socket && once(socket, 'close');

  await new Promise((resolve) => setImmediate(resolve));
  if (socket) {
    destroyLater(socket, 5);
  }
  client.write('goodbye');
  for (const end = performance.now() + 30; performance.now() < end; );
  await closed;

  expect(received).toBe('goodbye');
  client.destroy();
  server.close();
});
