import { NestFactory } from '@nestjs/core';
import type { BrokerTopicListener } from '../../lib/broker/broker-topics.js';
import { tagOf } from '../../lib/hub/position.js';
import { getHubToken, type Hub, MemoryBroker, StreamingModule } from '../../lib/index.js';

/** A broker whose log has begun another epoch, of which its tail does not know yet. */
class RenewedBroker extends MemoryBroker {
  listener: BrokerTopicListener | undefined;

  override tailTopics(log: string, listener: BrokerTopicListener) {
    this.listener = listener;
    return super.tailTopics(log, listener);
  }

  override async readTopics(...args: Parameters<MemoryBroker['readTopics']>) {
    const page = await super.readTopics(...args);
    return { ...page, position: { epoch: 'next', offset: 5 } };
  }
}

describe('A client with an id of a new epoch', () => {
  it('receives no reset from a process that learns of the epoch by this id', async () => {
    const broker = new RenewedBroker();
    class AppModule {}
    const imports = [
      StreamingModule.forRoot({ broker }),
      StreamingModule.registerHub({ name: 'feed', history: { per: 'topic', limit: 10 } }),
    ];
    const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger: false });
    const events = app.get<Hub>(getHubToken('feed')).subscribe({ topic: 'red', after: `${tagOf('feed')}.next.5` });
    const first = events[Symbol.asyncIterator]().next();
    const record = { epoch: 'next', offset: 6, previous: 5, topic: 'red', data: '"x"', encoding: 'json' as const };
    const publish = setInterval(() => broker.listener?.onRecords([{ ...record, time: Date.now() }]), 50);

    expect((await first).value).toMatchObject({ type: undefined, data: 'x' });

    clearInterval(publish);
    await app.close();
  });
});
