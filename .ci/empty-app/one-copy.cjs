// Every supported version of Node.js loads one copy of the package, whether it is imported or required, and whichever comes first.
const { strictEqual } = require('node:assert');

async function check(entry, first) {
  const load = [() => require(entry), () => import(entry)];
  const copies = [];
  for (const each of first === 'require' ? load : load.reverse()) {
    copies.push(await each());
  }
  for (const name of Object.keys(copies[0])) {
    strictEqual(copies[0][name], copies[1][name], `${entry} ${name}`);
  }
}

function isExpress() {
  try {
    return require.resolve('@nestjs/platform-express') !== '';
  } catch {
    return false;
  }
}

async function main() {
  await check('nestjs-streaming', 'require');
  await check('nestjs-streaming/testing', 'import');
  await check('nestjs-streaming/console', 'require');
  await check('nestjs-streaming/redis', 'import');
  await check('nestjs-streaming/nats', 'require');
  await check('nestjs-streaming/postgres', 'require');
  await check('nestjs-streaming/ai', 'require');
  await check('nestjs-streaming/client', 'import');
  await check('nestjs-streaming/react', 'require');
  await check('nestjs-streaming/worker', 'import');
  if (isExpress()) {
    await check('nestjs-streaming/express', 'require');
  }
  console.log('import and require() load one copy');
}

void main();
