// Writes dist/redis/append.lua, the script of RedisBroker that programs in other languages use, and dist/postgres/schema.sql.
import { writeFileSync } from 'node:fs';
import { schemaSql } from '../dist/postgres/schema.js';
import { APPEND } from '../dist/redis/scripts.js';

const HEAD = `-- Appends an event to a hub of nestjs-streaming. The guide docs/redis.md shows how to call it.
--
-- KEYS[1]  the stream of the hub: ns:{<name of the hub>}
-- KEYS[2]  optional: ns:{<name of the hub>}:once:<key>. If an event was appended with this key before, nothing is appended
-- ARGV[1]  empty
-- ARGV[2]  how many events Redis keeps: at least 4096
-- ARGV[3]  with tail: 'pubsub', the same as KEYS[1]. Otherwise empty
-- ARGV[4]  the number of arguments that follow with fields: 2 for each field
--          d data; e its encoding: json, text or base64; o topic; y type; k key, in this order. Only d and e are required
-- The last with KEYS[2]: how long the key is remembered, in milliseconds
--
-- Returns the id of the event: epoch, hyphen, offset. Returns nil if no process has opened the hub yet.
`;
writeFileSync('dist/redis/append.lua', `${HEAD}${APPEND.text}`);

const SQL = `-- Creates the tables and functions of PostgresBroker, in the schema "ns". The guide docs/postgres.md says when you need it. For another schema,
-- replace "ns" with its quotes.
BEGIN;
${schemaSql('ns', true)}
COMMIT;
`;
writeFileSync('dist/postgres/schema.sql', SQL);
