import { Controller, Inject, Param, ParseIntPipe } from '@nestjs/common';
import { Stream } from 'nestjs-streaming';
import { fromNative } from 'nestjs-streaming/worker';

/** The token of the addon for dependency injection. */
export const TOKENS_ADDON = Symbol('tokens.node');

/** The addon of this folder. */
export interface TokensAddon {
  tokens(count: number, ms: number): object;
}

@Controller('tokens')
export class TokensController {
  constructor(@Inject(TOKENS_ADDON) private readonly addon: TokensAddon) {}

  @Stream(':count')
  tokens(@Param('count', ParseIntPipe) count: number) {
    return fromNative(this.addon.tokens(count, 20), { encoding: 'utf8' });
  }
}
