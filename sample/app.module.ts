import { type MiddlewareConsumer, Module, type NestModule } from '@nestjs/common';
import { StreamingModule } from 'nestjs-streaming';
import { StreamingConsoleModule } from 'nestjs-streaming/console';
import { RedisBroker } from 'nestjs-streaming/redis';
import { AccessLogMiddleware } from './access-log/access-log.middleware.js';
import { AccessLogModule } from './access-log/access-log.module.js';
import { BoardModule } from './board/board.module.js';
import { ChatModule } from './chat/chat.module.js';
import { ExportModule } from './export/export.module.js';
import { HAS_CONSOLE } from './has-console.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { PageModule } from './page/page.module.js';
import { PrimesModule } from './primes/primes.module.js';

const { REDIS_URL } = process.env;

@Module({
  imports: [
    StreamingModule.forRootAsync({
      useFactory: () => ({
        // All processes with the same Redis share the board and the figures.
        broker: REDIS_URL ? new RedisBroker({ url: REDIS_URL }) : undefined,
        // Metrics, board and log never end by themselves. An export or an answer has two seconds to end.
        shutdown: { grace: 2_000 },
        limits: { connections: 1_000 },
        websocket: true,
      }),
    }),
    PageModule,
    MetricsModule,
    BoardModule,
    AccessLogModule,
    ExportModule,
    PrimesModule,
    ChatModule,
    ...(HAS_CONSOLE ? [StreamingConsoleModule.forRoot({ development: true })] : []),
  ],
})
export class AppModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(AccessLogMiddleware).forRoutes('{*all}');
  }
}
