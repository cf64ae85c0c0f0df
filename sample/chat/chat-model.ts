/** What one side of a conversation has said. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** Answers the last question of a conversation, token by token. */
export abstract class ChatModel {
  /** Shown to the user. */
  abstract readonly name: string;

  /** @param signal aborted when the rest of the answer is not needed */
  abstract answer(conversation: readonly Turn[], signal: AbortSignal): AsyncIterable<string>;
}
