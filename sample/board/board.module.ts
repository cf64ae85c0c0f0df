import { Module } from '@nestjs/common';
import { StreamingModule } from 'nestjs-streaming';
import { BoardController } from './board.controller.js';

const DAY_MS = 86_400_000;

@Module({
  imports: [StreamingModule.registerHub({ name: 'board', history: { limit: 500, ttl: DAY_MS } })],
  controllers: [BoardController],
})
export class BoardModule {}
