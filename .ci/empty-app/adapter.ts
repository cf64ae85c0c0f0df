import { ExpressAdapter } from '@nestjs/platform-express';
import { StreamingExpressAdapter } from 'nestjs-streaming/express';

export const Adapter = process.env.EXPRESS_ADAPTER === 'streaming' ? StreamingExpressAdapter : ExpressAdapter;
