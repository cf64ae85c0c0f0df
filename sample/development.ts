/** Whether it runs as `npm run dev` has it: then there is a console at /console, which needs a guard anywhere else. */
export const DEVELOPMENT = process.env.NODE_ENV === 'development';
