// Only in CI: see jest.config.js.
import.meta.jest.retryTimes(1, { logErrorsBeforeRetry: true });
