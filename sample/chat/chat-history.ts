import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { type Hub, InjectHub } from 'nestjs-streaming';
import type { ChatMessage } from './chat-message.js';

/** The number of messages that are kept, of all chats together. */
export const KEPT_MESSAGES = 1_000;

export interface HistoryEntry {
  readonly chat: string;
  readonly message: ChatMessage;
}

/** The complete messages of all chats, in memory. They come from a hub, so processes with the same Redis have the same messages. */
@Injectable()
export class ChatHistory implements OnApplicationBootstrap {
  private readonly logger = new Logger('Chat');
  private entries: readonly HistoryEntry[] = [];

  constructor(@InjectHub('messages') private readonly hub: Hub<HistoryEntry>) {}

  onApplicationBootstrap(): void {
    this.follow().catch((error: unknown) => this.logger.error(error));
  }

  of(chat: string): ChatMessage[] {
    return this.entries.filter((entry) => entry.chat === chat).map(({ message }) => message);
  }

  async add(entry: HistoryEntry): Promise<void> {
    await this.hub.publish(entry, { type: 'message' });
    // The event comes back from the hub in a moment. What follows needs it now.
    this.keep(entry);
  }

  private async follow(): Promise<void> {
    for await (const { type, data } of this.hub.subscribe({ last: KEPT_MESSAGES })) {
      if (type === 'message') {
        this.keep(data);
      }
    }
  }

  private keep(entry: HistoryEntry): void {
    const { chat, message } = entry;
    if (!this.entries.some((each) => each.chat === chat && each.message.id === message.id)) {
      this.entries = [...this.entries, entry].slice(-KEPT_MESSAGES);
    }
  }
}
