// A program without HTTP, which publishes what its parent tells it to.
import { NestFactory } from '@nestjs/core';
import { getHubToken, type Hub, StreamingModule } from '../../../lib/index.js';
import { brokerOfProcess } from './broker.js';

class PublisherModule {}

const app = await NestFactory.createApplicationContext(
  {
    module: PublisherModule,
    imports: [
      StreamingModule.forRoot({ broker: brokerOfProcess() }),
      StreamingModule.registerHub({ name: 'feed', role: 'publisher' }),
    ],
  },
  { logger: ['error', 'warn'] },
);
app.enableShutdownHooks();
const hub = app.get<Hub<string>>(getHubToken('feed'));

process.on('message', (key: string) => {
  hub.publish(key).then(
    (id) => process.send?.({ key, id }),
    (error: Error & { readonly code?: string }) => process.send?.({ key, code: error.code, message: error.message }),
  );
});
process.send?.({ port: 0 });
