/** Whether there is a console at `/console`. It has no guard, so it responds only to requests from this machine, and not in production. */
export const HAS_CONSOLE = process.env.NODE_ENV !== 'production';
