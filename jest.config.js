/** @type {import('jest').Config} */
export default {
  roots: ['<rootDir>/lib', '<rootDir>/test', '<rootDir>/sample'],
  testRegex: '\\.spec\\.ts$',
  testEnvironment: 'node',
  // Tests wait for events, on machines that may be busy: the limit is for those that hang.
  testTimeout: 60_000,
  // Many tests wait for timeouts, browsers and other processes: three workers keep two cores busy.
  maxWorkers: 3,
  // What modules leave behind makes a process slower and slower: with 1 GB, the same tests need a sixth more CPU.
  workerIdleMemoryLimit: '300MB',
  extensionsToTreatAsEsm: ['.ts'],
  // Applications on Express are created with the adapter of this package instead of that of Nest: see `.ci/suite-on-adapter`.
  setupFiles: process.env.EXPRESS_ADAPTER === 'streaming' ? ['<rootDir>/test/support/express-adapter.ts'] : [],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: true },
        },
        module: { type: 'es6' },
      },
    ],
  },
};
