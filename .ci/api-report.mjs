// Writes the signatures of the public names, as the built types declare them: one file for each entry point.
// `npm run build && npm run api-report` writes them to .ci/api/; an argument is another folder.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor';

const [folder = '.ci/api'] = process.argv.slice(2);
const packageJsonFullPath = resolve('package.json');

/** The first file of declarations among the conditions of an entry point. */
function typesOf(target) {
  return typeof target === 'string' ? undefined : (target.types ?? Object.values(target).map(typesOf).find(Boolean));
}

function report(entry, types) {
  const configObject = {
    projectFolder: resolve('.'),
    mainEntryPointFilePath: resolve(types),
    compiler: { tsconfigFilePath: 'tsconfig.build.json' },
    apiReport: {
      enabled: true,
      // Types that no entry exports, but that exported ones need: users see their changes too.
      includeForgottenExports: true,
      reportFileName: entry === '.' ? 'index' : basename(entry),
      reportFolder: resolve(folder),
      reportTempFolder: resolve(folder),
    },
    newlineKind: 'lf',
    docModel: { enabled: false },
    dtsRollup: { enabled: false },
    tsdocMetadata: { enabled: false },
    messages: {
      // Docstrings are checked by TypeDoc, and everything that is exported is public.
      extractorMessageReporting: { default: { logLevel: 'none' } },
      tsdocMessageReporting: { default: { logLevel: 'none' } },
    },
  };
  const config = ExtractorConfig.prepare({ configObject, configObjectFullPath: undefined, packageJsonFullPath });
  const { succeeded } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      message.handled = message.logLevel !== 'error';
    },
  });
  // The comments say which names have docstrings, and a parameter with a docstring is on a line of its own. Only signatures are reported.
  const text = readFileSync(config.reportFilePath, 'utf8');
  writeFileSync(config.reportFilePath, text.replace(/^ *\/\/.*\n/gm, '').replace(/\(\n +(?=\w+\??:)/g, '('));
  return succeeded;
}

mkdirSync(folder, { recursive: true });
const { exports } = JSON.parse(readFileSync(packageJsonFullPath, 'utf8'));
const entries = Object.entries(exports).map(([entry, target]) => ({ entry, types: typesOf(target) }));
const failed = entries.filter(({ entry, types }) => types && !report(entry, types));
process.exitCode = failed.length > 0 ? 1 : 0;
