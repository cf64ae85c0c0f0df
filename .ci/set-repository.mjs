// Replaces the address of the repository on GitHub in every file that contains it: `npm run set-repository owner/name`.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const [to = ''] = process.argv.slice(2);
if (!/^[\w.-]+\/[\w.-]+$/.test(to)) {
  throw new Error('Pass the owner and the name of the repository: npm run set-repository owner/name');
}
const { repository } = JSON.parse(readFileSync('package.json', 'utf8'));
const [from] = /(?<=github\.com\/).+(?=\.git$)/.exec(repository.url);
const ownerOf = (name) => name.split('/')[0];
const addresses = [
  [`github.com/${from}`, `github.com/${to}`],
  [`github.com/sponsors/${ownerOf(from)}`, `github.com/sponsors/${ownerOf(to)}`],
];

const patterns = addresses.flatMap(([old]) => ['-e', old]);
const files = execFileSync('git', ['grep', '--name-only', '--fixed-strings', ...patterns], { encoding: 'utf8' });
for (const file of files.trim().split('\n')) {
  let text = readFileSync(file, 'utf8');
  for (const [old, address] of addresses) {
    text = text.replaceAll(old, address);
  }
  writeFileSync(file, text);
  console.log(file);
}
