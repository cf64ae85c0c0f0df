// Prints a package with the version of it to install: `node .ci/version-from.mjs @nestjs/core 11.0.0` prints the lowest version from 11.0.0
// on, because not every package of Nest has every version, and `… 11` the newest of 11.
import { execFileSync } from 'node:child_process';

const [name, wanted] = process.argv.slice(2);
const numbersOf = (version) => version.split('.').map(Number);
const before = (a, b) => a.reduce((sign, each, i) => sign || each - b[i], 0) < 0;

function lowestFrom(least) {
  const versions = JSON.parse(execFileSync('npm', ['view', name, 'versions', '--json'], { encoding: 'utf8' }));
  const numbers = versions.filter((each) => /^\d+\.\d+\.\d+$/.test(each)).map(numbersOf);
  return numbers
    .filter((each) => !before(each, least))
    .reduce((a, b) => (before(b, a) ? b : a))
    .join('.');
}

const exact = /^\d+\.\d+\.\d+$/.test(wanted);
console.log(`${name}@${exact ? lowestFrom(numbersOf(wanted)) : wanted}`);
