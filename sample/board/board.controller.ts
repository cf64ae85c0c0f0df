import { Body, Controller, Post, Query, UseGuards } from '@nestjs/common';
import { ApiProperty, ApiQuery } from '@nestjs/swagger';
import { type Hub, type HubSubscription, InjectHub, LastEventId, Stream } from 'nestjs-streaming';
import { AfterPipe } from '../after.pipe.js';
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

  /**
   * The last messages, and then new ones. An `EventSource` that reconnects sends its last id in a header. A page that was reloaded
   * cannot set a header, and sends the id in the address. The address does not change after that, so the id in the header is newer.
   */
  @ApiQuery({ name: 'after', required: false, type: String })
  @Stream({ format: ['sse', 'ndjson'], type: Posted })
  read(@LastEventId() lastEventId?: string, @Query('after', AfterPipe) after?: string): HubSubscription<Posted> {
    return this.board.subscribe({ after: lastEventId || after, last: SHOWN });
  }

  @Post()
  @UseGuards(JsonOnlyGuard)
  async post(@Body(MessagePipe) message: Message): Promise<{ id: string }> {
    return { id: await this.board.publish({ ...message, at: Date.now() }, { type: 'message' }) };
  }
}
