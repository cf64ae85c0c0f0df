import { Body, Controller, Post, UseGuards } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { type Hub, type HubSubscription, InjectHub, LastEventId, Stream } from 'nestjs-streaming';
import { JsonOnlyGuard } from './json-only.guard.js';
import { type Message, MessagePipe } from './message.pipe.js';

/** The number of messages that a new client receives. */
const SHOWN = 50;

/** A message as all clients receive it. */
class Posted implements Message {
  @ApiProperty()
  readonly name!: string;
  @ApiProperty()
  readonly text!: string;
  @ApiProperty({ description: 'When it came, in milliseconds since 1970' })
  readonly at!: number;
}

@Controller('board')
export class BoardController {
  constructor(@InjectHub('board') private readonly board: Hub<Posted>) {}

  /** The messages after the id of a client that comes back, or the last ones, and then new ones. */
  @Stream({ format: ['sse', 'ndjson'], type: Posted })
  read(@LastEventId() after?: string): HubSubscription<Posted> {
    return this.board.subscribe({ after, last: SHOWN });
  }

  @Post()
  @UseGuards(JsonOnlyGuard)
  async post(@Body(MessagePipe) message: Message): Promise<{ id: string }> {
    return { id: await this.board.publish({ ...message, at: Date.now() }, { type: 'message' }) };
  }
}
