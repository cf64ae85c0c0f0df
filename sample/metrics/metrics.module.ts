import { Module } from '@nestjs/common';
import { StreamingModule } from 'nestjs-streaming';
import { MetricsController } from './metrics.controller.js';
import { MetricsService } from './metrics.service.js';

@Module({
  // Two minutes: a client that was disconnected for less misses nothing.
  imports: [StreamingModule.registerHub({ name: 'figures', history: { limit: 200, ttl: 120_000 } })],
  controllers: [MetricsController],
  providers: [MetricsService],
})
export class MetricsModule {}
