// An application of its own, because the sample does not need a compiler:
//
//   npm run build && npx nest build && npx node-gyp rebuild --directory sample/native && node sample/dist/native/main.js
//   curl -N localhost:3000/tokens/20
import { NestFactory } from '@nestjs/core';
import { TokensModule } from './tokens.module.js';

const app = await NestFactory.create(TokensModule);
app.enableShutdownHooks();
await app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
