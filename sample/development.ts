/** Whether the sample runs by `npm run dev`. It then has a console at /console; elsewhere, the console needs a guard. */
export const DEVELOPMENT = process.env.NODE_ENV === 'development';
