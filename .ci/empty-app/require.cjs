require('reflect-metadata');
const { strictEqual } = require('node:assert');
const { formatSse } = require('nestjs-streaming');
strictEqual(formatSse({ data: 'one', id: '1' }), 'id: 1\ndata: one\n\n');
console.log('the packed package can be required');
