// What a release needs, from package.json and CHANGELOG.md: `node .ci/release.mjs check | cut | ready | notes`.
//   check   fails unless package.json, its lock, native/package.json and CHANGELOG.md agree on the version
//   cut     moves the unreleased entries below the version of package.json and today's date, and sets the version of native/: `npm version` runs it
//   ready   checks, and fails unless the repository and its tag are those of this run: the release workflow runs it
//   notes   prints what CHANGELOG.md says about the version
import { readFileSync, writeFileSync } from 'node:fs';

const CHANGELOG = 'CHANGELOG.md';
/** The native writer is released together with the package, in the same version. */
const NATIVE = 'native/package.json';
const UNRELEASED = '[Unreleased]';
const RELEASED = /^\[(\d+\.\d+\.\d+(?:-[\w.]+)?)\] - \d{4}-\d\d-\d\d$/;

const json = (file) => JSON.parse(readFileSync(file, 'utf8'));
const { version, repository } = json('package.json');

/** The sections of the changelog: each heading `## `, and the text below it. */
function sections() {
  const [, ...all] = readFileSync(CHANGELOG, 'utf8').split(/^## /m);
  return all.map((section) => {
    const [heading, ...lines] = section.split('\n');
    return { heading, body: lines.join('\n').trim() };
  });
}

function check() {
  const { version: locked, packages } = json('package-lock.json');
  if (locked !== version || packages[''].version !== version) {
    throw new Error(`package.json has the version ${version}, and package-lock.json ${locked}: run npm install`);
  }
  if (json(NATIVE).version !== version) {
    throw new Error(`package.json has the version ${version}, and ${NATIVE} ${json(NATIVE).version}`);
  }
  if (readFileSync('native/LICENSE', 'utf8') !== readFileSync('LICENSE', 'utf8')) {
    throw new Error('native/LICENSE is not a copy of LICENSE');
  }
  const [unreleased, ...released] = sections().map(({ heading }) => heading);
  if (unreleased !== UNRELEASED) {
    throw new Error(`The first section of ${CHANGELOG} is "${unreleased}": it has to be "${UNRELEASED}"`);
  }
  const wrong = released.find((heading) => !RELEASED.test(heading));
  if (wrong !== undefined) {
    throw new Error(`"${wrong}" in ${CHANGELOG} is not of the form "[1.2.3] - 2026-01-31"`);
  }
  if (RELEASED.exec(released[0])?.[1] !== version) {
    throw new Error(`The newest version in ${CHANGELOG} is "${released[0]}", and in package.json ${version}`);
  }
}

function cut() {
  const [{ body }, ...released] = sections();
  if (body === '') {
    throw new Error(`${CHANGELOG} has nothing below "${UNRELEASED}": there is nothing to release`);
  }
  if (released.some(({ heading }) => heading.startsWith(`[${version}]`))) {
    throw new Error(`${CHANGELOG} has a section for ${version} already`);
  }
  const heading = `## [${version}] - ${new Date().toISOString().slice(0, 'YYYY-MM-DD'.length)}`;
  const text = readFileSync(CHANGELOG, 'utf8');
  writeFileSync(CHANGELOG, text.replace(`## ${UNRELEASED}\n`, `## ${UNRELEASED}\n\n${heading}\n`));
  const native = readFileSync(NATIVE, 'utf8');
  writeFileSync(NATIVE, native.replace(/"version": "[^"]*"/, `"version": "${version}"`));
}

function ready() {
  check();
  const { GITHUB_REPOSITORY = '', GITHUB_REF_NAME = '' } = process.env;
  if (repository.url !== `git+https://github.com/${GITHUB_REPOSITORY}.git`) {
    throw new Error(`package.json names ${repository.url}: run npm run set-repository ${GITHUB_REPOSITORY}`);
  }
  if (GITHUB_REF_NAME !== `v${version}`) {
    throw new Error(`The tag ${GITHUB_REF_NAME} is not v${version}, the version in package.json`);
  }
}

/** Links of the changelog are relative to its folder. On the page of a release, they would be relative to that page. */
function notes() {
  const { body } = sections().find(({ heading }) => heading.startsWith(`[${version}]`));
  const folder = repository.url.replace(/^git\+(.*)\.git$/, `$1/blob/v${version}/`);
  console.log(body.replace(/\]\((?!https?:)/g, `](${folder}`));
}

const [command] = process.argv.slice(2);
({ check, cut, ready, notes })[command]();
