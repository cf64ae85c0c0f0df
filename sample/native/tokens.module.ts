import { createRequire } from 'node:module';
import { Module } from '@nestjs/common';
import { StreamingModule } from 'nestjs-streaming';
import { TOKENS_ADDON, TokensController } from './tokens.controller.js';

/** Where `npx node-gyp rebuild --directory sample/native` builds the addon, seen from `sample/dist/native`. */
const ADDON = '../../native/build/Release/tokens.node';

@Module({
  imports: [StreamingModule.forRoot()],
  controllers: [TokensController],
  providers: [{ provide: TOKENS_ADDON, useFactory: () => createRequire(import.meta.url)(ADDON) }],
})
export class TokensModule {}
