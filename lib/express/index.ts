export { type ExpressApplication, StreamingExpressAdapter } from './streaming-express.adapter.js';
