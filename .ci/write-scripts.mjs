// Writes dist/redis/append.lua and append-topic.lua, the scripts of RedisBroker that programs in other languages use, and dist/postgres/schema.sql.
import { writeFileSync } from 'node:fs';
import { schemaSql } from '../dist/postgres/schema.js';
import { APPEND } from '../dist/redis/scripts.js';
import { TOPIC_APPEND } from '../dist/redis/topic-scripts.js';

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

const TOPIC_HEAD = `-- Appends an event to a hub of nestjs-streaming that has a history for each topic. The guide docs/redis.md shows how to call it.
--
-- KEYS[1]  the stream of the hub: ns:{<name of the hub>}
-- KEYS[2]  ns:{<name of the hub>}:topics
-- KEYS[3]  ns:{<name of the hub>}:t:<topic>
-- KEYS[4]  optional: ns:{<name of the hub>}:once:<key>. If an event was appended with this key before, nothing is appended
-- ARGV[1]  empty
-- ARGV[2]  the topic
-- ARGV[3]  how many events Redis keeps of the topic: history.limit of the hub
-- ARGV[4]  for how many milliseconds: history.ttl of the hub
-- ARGV[5]  with history.all, how many events Redis keeps of the whole hub, at least 4096. Otherwise 0
-- ARGV[6]  with history.all and tail: 'pubsub', the same as KEYS[1]. Otherwise empty
-- ARGV[7]  how long KEYS[4] is remembered, in milliseconds
-- ARGV[8…] fields and values: d data; e its encoding: json, text or base64; y type; k key, in this order. Only d and e are required
--
-- Returns the id of the event: epoch, hyphen, offset. Returns nil if no process has opened the hub yet.
`;
writeFileSync('dist/redis/append-topic.lua', `${TOPIC_HEAD}${TOPIC_APPEND.text}`);

const SQL = `-- Creates the tables and functions of PostgresBroker, in the schema "ns", or brings those of an earlier version to the newest one. The guide
-- docs/postgres.md says when you need it. For another schema, replace "ns" with its quotes.
${schemaSql('ns')}
`;
writeFileSync('dist/postgres/schema.sql', SQL);
